"""Read the YAML a user hands to `pagoda run`: one ModelDeployment, and the Secrets it names.

Every complaint says where (file and field), what (the value) and how to fix it. Whatever the file holds, it becomes a
SpecFile or a SpecFileError, in bounded time and memory.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pagoda_cli.local.yaml_documents import YamlError, load_documents
from pagoda_cli.secret import SecretError, read_secret, shorten
from pagoda_cli.text import one_line
from pagoda_operator.api import ModelDeployment

MAX_FILE_BYTES = 1 << 20
MAX_ERRORS = 20
NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


class SpecFileError(Exception):
    """The file cannot be run; the message is for the user."""


@dataclass(frozen=True, slots=True)
class SpecFile:
    """A validated file: the model deployment, and secret name → key → value."""

    deployment: ModelDeployment
    secrets: Mapping[str, Mapping[str, bytes]]


def read_spec_file(path: Path) -> SpecFile:
    """Reads and validates a file. Raises SpecFileError."""
    try:
        with path.open("rb") as file:
            return parse_content(file.read(MAX_FILE_BYTES + 1), str(path))
    except (OSError, ValueError) as error:
        raise SpecFileError(one_line(f"{path}: cannot be read: {error}: give the path of a YAML file")) from error


def parse_content(content: bytes, name: str) -> SpecFile:
    """Validates the bytes of a file called `name`. Raises SpecFileError."""
    if len(content) > MAX_FILE_BYTES:
        raise SpecFileError(f"{name}: has more than {MAX_FILE_BYTES} bytes: give a file with one ModelDeployment")
    try:
        return parse_spec(content.decode("utf-8-sig"), name)
    except UnicodeDecodeError as error:
        fix = "give the path of a YAML file, saved as UTF-8"
        raise SpecFileError(f"{name}: cannot be read: not UTF-8 at byte {error.start}: {fix}") from error


def parse_spec(text: str, name: str) -> SpecFile:
    """Validates the text of a file called `name`. Raises SpecFileError."""
    documents = _load_documents(text, name)
    deployments = [document for document in documents if document.get("kind") == "ModelDeployment"]
    if len(deployments) != 1:
        fix = "give a file with exactly one"
        raise SpecFileError(f"{name}: kind: {len(deployments)} documents are a ModelDeployment: {fix}")
    secrets = _read_secrets([document for document in documents if document.get("kind") == "Secret"], name)
    return SpecFile(_validate(deployments[0], name), secrets)


def _load_documents(text: str, name: str) -> list[dict[str, Any]]:
    try:
        documents = load_documents(text)
    except YamlError as error:
        raise SpecFileError(one_line(f"{name}: not YAML: {error}")) from error
    for document in documents:
        if not isinstance(document, dict):
            fix = "start it with apiVersion: pagoda.dev/v1alpha1"
            raise SpecFileError(f"{name}: a document is {shorten(document)}, not a mapping: {fix}")
    return documents


def _read_secrets(documents: list[dict[str, Any]], name: str) -> dict[str, dict[str, bytes]]:
    secrets: dict[str, dict[str, bytes]] = {}
    for document in documents:
        try:
            secret, data = read_secret(document)
        except SecretError as error:
            raise SpecFileError(one_line(f"{name}: {error}")) from error
        if secret in secrets:
            raise SpecFileError(f"{name}: Secret {secret!r}: there are two of that name: remove one")
        secrets[secret] = data
    return secrets


def _validate(document: dict[str, Any], name: str) -> ModelDeployment:
    metadata = document.get("metadata", {})
    if not isinstance(metadata, dict):
        raise SpecFileError(f"{name}: metadata: {shorten(metadata)} is not a mapping: write metadata: {{name: …}}")
    namespace = metadata.get("namespace", "default")
    if not isinstance(namespace, str) or not NAMESPACE.fullmatch(namespace):
        fix = "use a-z, 0-9 and '-', 63 characters at most, or remove it"
        raise SpecFileError(one_line(f"{name}: metadata.namespace: {shorten(namespace)} is not a namespace: {fix}"))
    try:
        found = ModelDeployment.model_validate(document | {"metadata": metadata | {"namespace": namespace}})
    except ValidationError as error:
        raise SpecFileError("\n".join(explain_errors(name, error))) from error
    _refuse_what_a_cluster_has(found, name)
    return found


def _refuse_what_a_cluster_has(deployment: ModelDeployment, name: str) -> None:
    """Refuses a profile, which is in the chart, and variables and volumes: a file says no code that runs here."""
    spec, pod = deployment.spec, deployment.spec.pod
    cluster_only = {
        "spec.profile": spec.profile,
        "spec.pod.env": pod.env,
        "spec.pod.envFrom": pod.env_from,
        "spec.pod.volumes": pod.volumes,
        "spec.pod.volumeMounts": pod.volume_mounts,
    }
    for field, value in cluster_only.items():
        if value is not None:
            fix = "remove it here; variables come from your own environment"
            raise SpecFileError(f"{name}: {field}: `pagoda run` has none, a cluster has: {fix}")


def explain_errors(name: str, error: ValidationError) -> list[str]:
    """Returns one line per error: file: field path: message (value)."""
    lines = [one_line(line) for line in _explain(name, error)]
    return lines if len(lines) <= MAX_ERRORS else [*lines[:MAX_ERRORS], f"{name}: {len(lines) - MAX_ERRORS} more"]


def _explain(name: str, error: ValidationError) -> Iterator[str]:
    for item in error.errors(include_url=False):
        path = ".".join(str(part)[:80] for part in item["loc"]) or "(whole document)"
        value = f" (got {shorten(item['input'])})" if isinstance(item["input"], (str, int, float, bool)) else ""
        fix = ": remove it or correct its name" if item["type"] == "extra_forbidden" else ""
        yield f"{name}: {path}: {item['msg']}{value}{fix}"
