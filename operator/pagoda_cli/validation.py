"""`pagoda validate`: every document of a file held to what `pagoda run` and the API server ask, all errors listed."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pagoda_cli.local.spec_file import MAX_FILE_BYTES, SpecFileError, parse_content
from pagoda_cli.local.yaml_documents import YamlError, load_documents
from pagoda_cli.secret import SecretError, read_secret, shorten
from pagoda_cli.text import one_line
from pagoda_operator.kube.objects import KIND


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found in a file: its models, errors a line each, and what was not judged."""

    models: tuple[dict[str, Any], ...] = ()
    errors: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()


def check_content(content: bytes, name: str) -> Checked:
    """Judges the documents of a file called `name`."""
    if len(content) > MAX_FILE_BYTES:
        return Checked(errors=(f"{name}: has more than {MAX_FILE_BYTES} bytes: give a file of ModelDeployments",))
    try:
        documents = load_documents(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        return Checked(errors=(f"{name}: not UTF-8 at byte {error.start}: save it as UTF-8",))
    except YamlError as error:
        return Checked(errors=(one_line(f"{name}: not YAML: {error}"),))
    if not documents:
        return Checked(errors=(f"{name}: holds no document: start one with apiVersion: pagoda.dev/v1alpha1",))
    models, errors, skipped = [], [], []
    for index, document in enumerate(documents, 1):
        where = f"{name} (document {index})" if len(documents) > 1 else name
        kind = document.get("kind") if isinstance(document, dict) else None
        found = list(_judge(document, kind, where))
        errors += found
        if kind == KIND and not found:
            models.append(document)
        if isinstance(document, dict) and kind not in (KIND, "Secret") and not found:
            skipped.append(f"{where}: {shorten(kind)} is not judged here")
    errors += _repeated(models, name)
    return Checked(tuple(models), tuple(errors), tuple(skipped))


def _judge(document: Any, kind: Any, where: str) -> Iterator[str]:
    if not isinstance(document, dict):
        yield f"{where}: {shorten(document)} is not a mapping: start it with apiVersion: pagoda.dev/v1alpha1"
    elif not isinstance(kind, str) or not kind:
        yield f"{where}: kind: missing: write kind: {KIND}"
    elif kind == KIND:
        try:
            parse_content(json.dumps(document).encode(), where)
        except SpecFileError as error:
            yield from str(error).splitlines()
    elif kind == "Secret":
        try:
            read_secret(document)
        except SecretError as error:
            yield one_line(f"{where}: {error}")


def _repeated(models: list[dict[str, Any]], name: str) -> Iterator[str]:
    seen = set()
    for model in models:
        meta = model.get("metadata") or {}
        key = (meta.get("namespace"), meta.get("name"))
        if key in seen:
            yield f"{name}: metadata.name: two are called {shorten(key[1])}: the last one would win: rename one"
        seen.add(key)
