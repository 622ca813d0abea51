"""`pagoda fetch URI DEST`: put a model's files into a folder.

It is the init container of every model pod and the first step of `pagoda run`. It fetches safetensors, JSON, templates
and tokenizer files, never code or pickles. It imports no torch. A marker file written last says which URI the folder
holds, so a second run is quick.
"""

import contextlib
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Literal

MARKER = ".pagoda-complete"
TERMINATION_LOG = Path("/dev/termination-log")
ALLOWED = ("*.safetensors", "*.json", "*.jinja", "tokenizer*")
REFUSED = ("*.py", "*.bin", "*.pt", "*.pth", "*.pkl", "*.onnx", "original/*", "onnx/*")
SCHEMES = "bundled://NAME, hf://org/name@revision, pvc://claim/path, file:///absolute/path"

Reason = Literal["ModelNotFound", "ModelDownloadDenied", "ModelDownloadFailed"]
Say = Callable[[str], None]


class FetchError(Exception):
    """A model could not be fetched; `reason` is the condition reason the operator shows."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason


@dataclass(frozen=True, slots=True)
class ModelUri:
    """A parsed model URI. `revision` is None unless the URI has one."""

    text: str
    scheme: str
    path: str
    revision: str | None = None


def parse_uri(text: str) -> ModelUri:
    """Split a model URI; raises FetchError when no way to fetch it is known."""
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


def fetch_model(uri_text: str, destination: Path, say: Say) -> None:
    """Fill `destination` with the model of `uri_text`; does nothing when it is there already."""
    uri = parse_uri(uri_text)
    if uri.scheme == "pvc":
        verify_mounted(uri, destination)
        say(f"fetch: {uri.text} is mounted at {destination}")
        return
    marker = destination / MARKER
    if _read_marker(marker) == uri.text:
        say(f"fetch: {uri.text} is complete in {destination}")
        return
    _prepare(destination)
    say(f"fetch: {uri.text} -> {destination}")
    with _progress(destination, say):
        {"bundled": _fetch_bundled, "file": _fetch_file, "hf": _fetch_hf}[uri.scheme](uri, destination)
    _verify_config(uri, destination, "it is not a model that transformers knows: choose another repository or folder")
    marker.write_text(uri.text + "\n", encoding="utf-8")
    say(f"fetch: complete, {_folder_bytes(destination) / 1e6:.1f} MB")


def verify_mounted(uri: ModelUri, destination: Path) -> None:
    """A claim is mounted by the pod; there is nothing to fetch, only to check."""
    _verify_config(uri, destination, "put the model's files into that folder of the claim, or correct model.uri")


def report_failure(error: FetchError, termination_log: Path = TERMINATION_LOG) -> None:
    """Leave the reason where the kubelet reads it, when there is a kubelet."""
    if termination_log.exists() and os.access(termination_log, os.W_OK):
        termination_log.write_text(f"{error}\n", encoding="utf-8")


def _verify_config(uri: ModelUri, destination: Path, fix: str) -> None:
    if not (destination / "config.json").is_file():
        raise FetchError("ModelNotFound", f"URI {uri.text} has no config.json (looked in {destination}): {fix}")


def _read_marker(marker: Path) -> str | None:
    return marker.read_text(encoding="utf-8").strip() if marker.is_file() else None


def _prepare(destination: Path) -> None:
    """Make the folder; empty it when this program filled it with another model: two models' weights must never mix."""
    destination.mkdir(parents=True, exist_ok=True)
    if not (destination / MARKER).is_file():
        return
    (destination / MARKER).unlink()
    for entry in destination.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink()


def _fetch_bundled(uri: ModelUri, destination: Path) -> None:
    try:
        source = resources.files("sample_model") / uri.path
    except ModuleNotFoundError as error:
        raise FetchError(
            "ModelNotFound", f"URI {uri.text}: this installation ships no models: install pagoda again"
        ) from error
    if not source.is_dir():
        raise FetchError("ModelNotFound", f"URI {uri.text} is not shipped: use {_bundled_names()} or an hf:// URI")
    _copy_files(source, destination)


def _copy_files(source: Traversable, destination: Path) -> None:
    for entry in source.iterdir():
        if entry.is_file() and not entry.name.endswith(".py"):
            partial = destination / f"{entry.name}.partial"
            with entry.open("rb") as reader, partial.open("wb") as writer:
                shutil.copyfileobj(reader, writer, 1 << 20)
            partial.replace(destination / entry.name)


def _bundled_names() -> str:
    names = sorted(
        entry.name for entry in resources.files("sample_model").iterdir() if (entry / "config.json").is_file()
    )
    return ", ".join(f"bundled://{name}" for name in names) or "bundled://pagoda-tiny (missing from this installation)"


def _fetch_file(uri: ModelUri, destination: Path) -> None:
    """Link instead of copying: the files are on this machine already."""
    source = Path(uri.path)
    if not source.is_dir():
        raise FetchError("ModelNotFound", f"URI {uri.text} is not a folder here: correct the path")
    for entry in sorted(source.iterdir()):
        if entry.is_file() and any(entry.match(pattern) for pattern in ALLOWED) and entry.suffix not in (".py", ".bin"):
            link = destination / entry.name
            link.unlink(missing_ok=True)
            link.symlink_to(entry.resolve())


def _fetch_hf(uri: ModelUri, destination: Path) -> None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()
    try:
        snapshot_download(
            uri.path,
            revision=uri.revision,
            local_dir=destination,
            allow_patterns=list(ALLOWED),
            ignore_patterns=list(REFUSED),
        )
    except Exception as error:
        raise explain_hub_error(uri, error) from error


def explain_hub_error(uri: ModelUri, error: Exception) -> FetchError:
    """Name what the hub's error means to the user, and the fix."""
    from huggingface_hub import errors

    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, errors.GatedRepoError):
        fix = "accept its licence on the hub and set model.tokenSecretRef (or HF_TOKEN) to a token that may read it"
        return FetchError("ModelDownloadDenied", f"URI {uri.text} is gated: {fix}")
    if isinstance(error, errors.RevisionNotFoundError):
        return FetchError(
            "ModelNotFound", f"URI {uri.text}: no revision {uri.revision!r}: use a branch, tag or commit of {uri.path}"
        )
    if isinstance(error, (errors.RepositoryNotFoundError, errors.HFValidationError)):
        fix = "check organisation and name; for a private repository set model.tokenSecretRef (or HF_TOKEN)"
        return FetchError("ModelNotFound", f"URI {uri.text} is not on the hub: {fix}")
    if status in (401, 403):
        return FetchError(
            "ModelDownloadDenied",
            f"URI {uri.text}: HTTP {status}: set model.tokenSecretRef (or HF_TOKEN) to a valid token",
        )
    detail = " ".join(str(error).split())[:300]
    return FetchError(
        "ModelDownloadFailed", f"URI {uri.text}: {detail}: check the network, the disk's space, and try again"
    )


@contextlib.contextmanager
def _progress(destination: Path, say: Say, every_seconds: float = 5.0) -> Iterator[None]:
    """Say every few seconds how much has arrived."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(every_seconds):
            say(f"fetch: {_folder_bytes(destination) / 1e6:.1f} MB so far")

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _folder_bytes(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # a partial file may be renamed while it is counted
            total += path.stat().st_size if path.is_file() else 0
    return total
