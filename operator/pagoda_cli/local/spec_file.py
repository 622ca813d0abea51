"""Read the YAML a user hands to `pagoda run`: one ModelDeployment, and the Secrets it names.

Every complaint says where (file and field), what (the value) and how to fix it. Whatever the file holds, it becomes a
SpecFile or a SpecFileError, in bounded time and memory.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pagoda_cli.local.explain import MAX_ERRORS, explain_errors, find_nulls
from pagoda_cli.local.local_folder import put_folder, take_folder
from pagoda_cli.local.metadata import MetadataError, read_metadata
from pagoda_cli.local.yaml_documents import YamlError, load_documents
from pagoda_cli.secret import SecretError, read_secret, shorten
from pagoda_cli.text import one_line, suggest
from pagoda_operator.api import ModelDeployment

MAX_FILE_BYTES = 1 << 20
KIND, SECRET = "ModelDeployment", "Secret"


class SpecFileError(Exception):
    """The file cannot be run; the message is for the user."""


@dataclass(frozen=True, slots=True)
class SpecFile:
    """A validated file: the model deployment, secret name → key → value, and the kinds of what is not used here."""

    deployment: ModelDeployment
    secrets: Mapping[str, Mapping[str, bytes]]
    others: tuple[str, ...] = ()


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
    deployments = [document for document in documents if document.get("kind") == KIND]
    if len(deployments) != 1:
        raise SpecFileError(one_line(f"{name}: kind: {_explain_count(documents, len(deployments))}"))
    secrets = _read_secrets([document for document in documents if document.get("kind") == SECRET], name)
    others = tuple(
        shorten(document.get("kind")) for document in documents if document.get("kind") not in (KIND, SECRET)
    )
    return SpecFile(validate_document(deployments[0], name), secrets, others)


def _explain_count(documents: list[dict[str, Any]], count: int) -> str:
    if count > 1:
        return f"{count} documents are a {KIND}: give a file with exactly one"
    kinds = [document.get("kind") for document in documents]
    found = ", ".join(shorten(kind) for kind in kinds[:3]) or "no document"
    is_near = any(isinstance(kind, str) and suggest(kind, [KIND]) is not None for kind in kinds)
    return f"no document is a {KIND} (got {found}): {f'did you mean {KIND}?' if is_near else 'add one'}"


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


def validate_document(document: dict[str, Any], name: str) -> ModelDeployment:
    """Holds a document to what the API server would take, of which the operator's models are the twin.

    Raises SpecFileError.

    NB: strictly, for the API server converts nothing. It ignores the status, and puts a default in place of a null.
    """
    found = {key: value for key, value in document.items() if key != "status"}
    try:
        found["metadata"] = read_metadata(document.get("metadata", {}))
        if nulls := list(find_nulls(found)):
            raise SpecFileError("\n".join(f"{name}: {line}" for line in nulls[:MAX_ERRORS]))
        found, folder = take_folder(_drop_nulls(found))
        deployment = ModelDeployment.model_validate(found, strict=True, context={"strict": True})
    except MetadataError as error:
        raise SpecFileError(one_line(f"{name}: {error}")) from error
    except ValidationError as error:
        raise SpecFileError("\n".join(explain_errors(name, error))) from error
    return deployment if folder is None else put_folder(deployment, folder)


def _drop_nulls(found: Any) -> Any:
    if isinstance(found, dict):
        return {key: _drop_nulls(value) for key, value in found.items() if value is not None}
    return [_drop_nulls(value) for value in found] if isinstance(found, list) else found
