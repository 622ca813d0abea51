"""`model.uri` taken apart, and the one error of fetching: its reason is a condition's reason, its text one line."""

from dataclasses import dataclass
from typing import Literal

from pagoda_cli.text import one_line

SCHEMES = "bundled://NAME, hf://org/name@revision, pvc://claim/path, file:///absolute/path"

Reason = Literal["ModelNotFound", "ModelDownloadDenied", "ModelDownloadFailed"]


class FetchError(Exception):
    """A model could not be fetched; `reason` is the condition reason the operator shows."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(f"{reason}: {one_line(message)}")
        self.reason = reason


@dataclass(frozen=True, slots=True)
class ModelUri:
    """A parsed model URI. `revision` is None unless the URI has one."""

    text: str
    scheme: str
    path: str
    revision: str | None = None


def parse_uri(text: str) -> ModelUri:
    """Splits a model URI. Raises FetchError when no way to fetch it is known."""
    scheme, separator, rest = text.partition("://")
    if not separator or not rest:
        raise FetchError("ModelNotFound", f"URI {text!r} has no scheme or no path: use one of {SCHEMES}")
    if scheme == "hf":
        return _parse_hf(text, rest)
    if scheme == "file" and not rest.startswith("/"):
        raise FetchError("ModelNotFound", f"URI {text} is not absolute: write file:///absolute/path")
    if scheme == "bundled" and not rest.replace("-", "").replace("_", "").replace(".", "").isalnum():
        raise FetchError("ModelNotFound", f"URI {text} names no bundled model: use bundled://pagoda-tiny")
    if scheme not in ("bundled", "pvc", "file"):
        raise FetchError(
            "ModelNotFound", f"URI {text} has the scheme {scheme!r}, which cannot be fetched: use {SCHEMES}"
        )
    return ModelUri(text, scheme, rest)


def _parse_hf(text: str, rest: str) -> ModelUri:
    repository, _, revision = rest.partition("@")
    if repository.count("/") != 1 or not all(repository.split("/")):
        raise FetchError(
            "ModelNotFound", f"URI {text} is not of the form hf://org/name@revision: give organisation and name"
        )
    return ModelUri(text, "hf", repository, revision or None)
