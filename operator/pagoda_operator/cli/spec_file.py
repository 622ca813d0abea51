"""Read the YAML a user hands to `pagoda run`: one ModelDeployment, and the Secrets it names.

Every complaint says where (file and field), what (the value) and how to fix it.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from pagoda_operator.api import ModelDeployment


class SpecFileError(Exception):
    """The file cannot be run; the message is for the user."""


@dataclass(frozen=True, slots=True)
class SpecFile:
    """A validated file: the model deployment, and secret name → key → value."""

    deployment: ModelDeployment
    secrets: Mapping[str, Mapping[str, bytes]]


def read_spec_file(path: Path) -> SpecFile:
    """Read and validate; raises SpecFileError."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecFileError(f"{path}: cannot be read: {error}: give the path of a YAML file") from error
    return parse_spec(text, str(path))


def parse_spec(text: str, name: str) -> SpecFile:
    """Validate the text of a file called `name`; raises SpecFileError."""
    documents = _load_documents(text, name)
    deployments = [document for document in documents if document.get("kind") == "ModelDeployment"]
    if len(deployments) != 1:
        fix = "give a file with exactly one"
        raise SpecFileError(f"{name}: kind: {len(deployments)} documents are a ModelDeployment: {fix}")
    secrets = {_name_of(document): _read_secret(document) for document in documents if document.get("kind") == "Secret"}
    return SpecFile(_validate(deployments[0], name), secrets)


def _load_documents(text: str, name: str) -> list[dict[str, Any]]:
    try:
        documents = [document for document in yaml.safe_load_all(text) if document is not None]
    except yaml.YAMLError as error:
        raise SpecFileError(f"{name}: not YAML: {error}") from error
    for document in documents:
        if not isinstance(document, dict):
            raise SpecFileError(
                f"{name}: a document is {document!r}, not a mapping: start it with apiVersion: pagoda.dev/v1alpha1"
            )
    return documents


def _validate(document: dict[str, Any], name: str) -> ModelDeployment:
    document.setdefault("metadata", {}).setdefault("namespace", "default")
    try:
        return ModelDeployment.model_validate(document)
    except ValidationError as error:
        raise SpecFileError("\n".join(explain_errors(name, error))) from error


def explain_errors(name: str, error: ValidationError) -> list[str]:
    """One line an error: file: field path: message (value)."""
    lines = []
    for item in error.errors(include_url=False):
        path = ".".join(str(part) for part in item["loc"]) or "(whole document)"
        value = f" (got {item['input']!r})" if isinstance(item["input"], (str, int, float, bool)) else ""
        fix = ": remove it or correct its name" if item["type"] == "extra_forbidden" else ""
        lines.append(f"{name}: {path}: {item['msg']}{value}{fix}")
    return lines


def _name_of(document: Mapping[str, Any]) -> str:
    return str((document.get("metadata") or {}).get("name", ""))


def _read_secret(document: Mapping[str, Any]) -> dict[str, bytes]:
    data = {key: base64.b64decode(value) for key, value in (document.get("data") or {}).items()}
    return data | {key: str(value).encode() for key, value in (document.get("stringData") or {}).items()}
