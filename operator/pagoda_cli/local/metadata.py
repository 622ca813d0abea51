"""The metadata of a file's ModelDeployment, held to what the API server would take."""

import re
from collections.abc import Mapping
from typing import Any

from pagoda_cli.local.explain import METADATA_FIELDS, propose
from pagoda_cli.secret import shorten
from pagoda_operator.api.base import LABEL_KEY_PATTERN, LABEL_VALUE_PATTERN

NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
LABEL_KEY, LABEL_VALUE = re.compile(LABEL_KEY_PATTERN), re.compile(LABEL_VALUE_PATTERN)
MAX_LABEL_CHARACTERS, MAX_PREFIX_CHARACTERS = 63, 253
MAX_ANNOTATION_BYTES = 256 << 10
BY_THE_SERVER = frozenset(
    ("uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds")
    + ("managedFields", "selfLink", "ownerReferences", "finalizers", "generateName")
)
"""What `kubectl get -o yaml` prints too; here it says nothing."""


class MetadataError(ValueError):
    """The API server would refuse this metadata; the message names field, value and fix."""


def read_metadata(found: object) -> dict[str, Any]:
    """Returns the fields that are used, with the default namespace. Raises MetadataError."""
    if not isinstance(found, dict):
        raise MetadataError(f"metadata: must be a mapping (got {shorten(found)}): write metadata: {{name: …}}")
    metadata = {key: value for key, value in found.items() if value is not None and key not in BY_THE_SERVER}
    for key in metadata:
        if key not in METADATA_FIELDS:
            raise MetadataError(f"metadata.{key[:80]}: no such field: {propose(key, METADATA_FIELDS, 'metadata')}")
    namespace = metadata.setdefault("namespace", "default")
    if not isinstance(namespace, str) or not NAMESPACE.fullmatch(namespace):
        fix = "use a-z, 0-9 and '-', 63 characters at most, or remove it"
        raise MetadataError(f"metadata.namespace: {shorten(namespace)} is not a namespace: {fix}")
    _check_labels(_read_texts(metadata, "labels"))
    _check_annotations(_read_texts(metadata, "annotations"))
    return metadata


def _read_texts(metadata: Mapping[str, Any], field: str) -> dict[str, str]:
    entries = metadata.get(field, {})
    if not isinstance(entries, dict):
        raise MetadataError(f"metadata.{field}: must be a mapping (got {shorten(entries)}): write key: value below it")
    for key, value in entries.items():
        if not isinstance(value, str):
            raise MetadataError(f"metadata.{field}.{key[:80]}: must be text (got {shorten(value)}): write it in quotes")
    return entries


def _check_labels(labels: Mapping[str, str]) -> None:
    for key, value in labels.items():
        _check_key("labels", key)
        if len(value) > MAX_LABEL_CHARACTERS or not LABEL_VALUE.fullmatch(value):
            fix = f"use letters, digits, '-', '_' and '.', {MAX_LABEL_CHARACTERS} characters at most"
            raise MetadataError(f"metadata.labels.{key}: {shorten(value)} is not a label's value: {fix}")


def _check_annotations(annotations: Mapping[str, str]) -> None:
    for key in annotations:
        _check_key("annotations", key.lower())
    size = sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items())
    if size > MAX_ANNOTATION_BYTES:
        raise MetadataError(f"metadata.annotations: have {size} bytes: at most {MAX_ANNOTATION_BYTES} are allowed")


def _check_key(field: str, key: str) -> None:
    prefix = key.rpartition("/")[0]
    if len(prefix) > MAX_PREFIX_CHARACTERS or not LABEL_KEY.fullmatch(key):
        fix = "write name or domain/name, of letters, digits, '-', '_' and '.'"
        raise MetadataError(f"metadata.{field}: {shorten(key)} is not a key: {fix}")
