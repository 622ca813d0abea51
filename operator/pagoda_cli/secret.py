"""A Secret of the file, held to what the API server would take: its keys become names of files here.

No message repeats a value.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
KEY = re.compile(r"[-._a-zA-Z0-9]+")
MAX_NAME_CHARACTERS = MAX_KEY_CHARACTERS = 253
FIELDS = {"apiVersion", "kind", "metadata", "type", "immutable", "data", "stringData"}


class SecretError(ValueError):
    """The API server would refuse this Secret; the message names field, value and fix."""


def read_secret(document: Mapping[str, Any]) -> tuple[str, dict[str, bytes]]:
    """Returns a Secret's name, and key → value. Raises SecretError."""
    name = _read_name(document.get("metadata"))
    unknown = sorted(set(document) - FIELDS)
    if unknown:
        raise SecretError(f"Secret {name!r}: {shorten(unknown[0])}: no such field: remove it or correct its name")
    if document.get("apiVersion", "v1") != "v1":
        raise SecretError(f"Secret {name!r}: apiVersion: not v1: write apiVersion: v1")
    data = {key: _decode(name, key, text) for key, text in _read_texts(name, document, "data").items()}
    return name, data | {key: text.encode() for key, text in _read_texts(name, document, "stringData").items()}


def check_key(key: str) -> str | None:
    """Returns what is wrong with a key; None when nothing is."""
    if len(key) > MAX_KEY_CHARACTERS:
        return f"has {len(key)} characters: at most {MAX_KEY_CHARACTERS} are allowed"
    if not KEY.fullmatch(key):
        return "use letters, digits, '-', '_' and '.' only"
    if key == "." or key.startswith(".."):
        return "it may not be '.' nor begin with '..': choose another key"
    return None


def shorten(value: object, characters: int = 60) -> str:
    """Returns a value as a message quotes it."""
    text = repr(value)
    return text if len(text) <= characters else f"{text[: characters - 1]}…"


def _read_name(metadata: object) -> str:
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(name, str) or len(name) > MAX_NAME_CHARACTERS or not NAME.fullmatch(name):
        fix = f"give a name of a-z, 0-9, '-' and '.', {MAX_NAME_CHARACTERS} characters at most"
        raise SecretError(f"Secret: metadata.name: {shorten(name)} is not a name: {fix}")
    return name


def _read_texts(name: str, document: Mapping[str, Any], field: str) -> dict[str, str]:
    entries = document.get(field)
    if entries is None:
        return {}
    if not isinstance(entries, dict):
        raise SecretError(f"Secret {name!r}: {field}: not a mapping: write key: value below it")
    for key, value in entries.items():
        problem = check_key(key)
        if problem is not None:
            raise SecretError(f"Secret {name!r}: {field}: the key {shorten(key)}: {problem}")
        if not isinstance(value, str):
            raise SecretError(f"Secret {name!r}: {field}.{key}: not text: write the value in quotes")
    return entries


def _decode(name: str, key: str, text: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        fix = "encode it, or put the plain text under stringData"
        raise SecretError(f"Secret {name!r}: data.{key}: not base64: {fix}") from error
