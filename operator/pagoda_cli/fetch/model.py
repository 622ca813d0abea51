"""`pagoda fetch URI DEST`: put a model's files into a folder.

It is the init container of every model pod and the first step of `pagoda run`. It fetches safetensors, JSON, templates
and tokenizer files, never code or pickles. It imports no torch. A marker file written last says which URI the folder
holds, and of a shipped model which content, so a second run is quick.
"""

import contextlib
import hashlib
import json
import os
import shutil
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from pagoda_cli.fetch.model_uri import FetchError, ModelUri, parse_uri
from pagoda_cli.fetch.progress import BATCH_FOLDER, Say, count_bytes, show_progress
from pagoda_cli.fetch.weights import is_wanted
from pagoda_cli.text import suggest

MARKER = ".pagoda-complete"
MAX_CONFIG_BYTES = 10 << 20
TERMINATION_LOG = Path("/dev/termination-log")


def fetch_model(
    uri_text: str, destination: Path, say: Say, say_progress: Say | None = None, *, configuration_only: bool = False
) -> None:
    """Fills `destination` with the model of `uri_text`; does nothing when it is there already.

    With `configuration_only` nothing large is downloaded: of a model on a hub only what says which model it is.
    """
    uri = parse_uri(uri_text)
    if uri.scheme == "pvc" or _is_in_place(uri, destination):
        verify_mounted(uri, destination)
        say(f"fetch: {uri.text} is at {destination}")
        return
    marker, content = destination / MARKER, _name_content(uri)
    if _read_marker(marker) == content and uri.scheme != "file":  # whose links are quick to make, and may be old
        say(f"fetch: {uri.text} is complete in {destination}")
        return
    _prepare(destination)
    say(f"fetch: {uri.text} -> {destination}")
    if uri.scheme == "hf" and configuration_only:
        _fetch_hub_configuration(uri, destination)
        return
    if uri.scheme == "hf":
        _fetch_hub(uri, destination, say_progress or say)
    else:
        {"bundled": _fetch_bundled, "file": _fetch_file}[uri.scheme](uri, destination)
    _verify_config(uri, destination, "it is not a model that transformers knows: choose another repository or folder")
    marker.write_text(content + "\n", encoding="utf-8")
    say(f"fetch: complete, {count_bytes(destination) / 1e6:.1f} MB")


def _name_content(uri: ModelUri) -> str:
    """Returns what tells one content from another: another installation ships another model under the same URI."""
    if uri.scheme != "bundled":
        return uri.text
    source = _find_bundled(uri)
    digest = hashlib.sha256()
    for entry in sorted(source.iterdir(), key=lambda entry: entry.name):
        if entry.is_file() and is_wanted(entry.name):
            digest.update(entry.name.encode() + hashlib.sha256(entry.read_bytes()).digest())
    return f"{uri.text} {digest.hexdigest()}"


def _is_in_place(uri: ModelUri, destination: Path) -> bool:
    return uri.scheme == "file" and destination.resolve() == Path(uri.path).resolve()


def verify_mounted(uri: ModelUri, destination: Path) -> None:
    """Checks a mounted claim, or a folder that is used where it is: there is nothing to fetch."""
    _verify_config(uri, destination, "put the model's files into that folder, or correct model.uri")
    _verify_object(uri, destination / "config.json")


def report_failure(error: FetchError, termination_log: Path = TERMINATION_LOG) -> None:
    """Leaves the reason where the kubelet reads it, when there is a kubelet."""
    if termination_log.exists() and os.access(termination_log, os.W_OK):
        with contextlib.suppress(OSError):  # the reason is said on standard error too
            termination_log.write_text(f"{error}\n", encoding="utf-8")


def _verify_config(uri: ModelUri, destination: Path, fix: str) -> None:
    if not (destination / "config.json").is_file():
        raise FetchError("ModelNotFound", f"URI {uri.text} has no config.json (looked in {destination}): {fix}")


def _verify_object(uri: ModelUri, config: Path) -> None:
    """Raises FetchError unless the file holds a JSON object. NB: real models' configurations hold Infinity."""
    with config.open("rb") as file:
        raw = file.read(MAX_CONFIG_BYTES + 1)
    fix = "choose another repository or folder"
    if len(raw) > MAX_CONFIG_BYTES:
        raise FetchError("ModelNotFound", f"URI {uri.text}: config.json has more than {MAX_CONFIG_BYTES} bytes: {fix}")
    try:
        is_object = isinstance(json.loads(raw), dict)
    except (ValueError, RecursionError):
        is_object = False
    if not is_object:
        raise FetchError("ModelNotFound", f"URI {uri.text}: config.json is not a JSON object: {fix}")


def _read_marker(marker: Path) -> str | None:
    return marker.read_text(encoding="utf-8", errors="replace").strip() if marker.is_file() else None


def _prepare(destination: Path) -> None:
    """Makes the folder, and empties one that holds another model: two models' weights must never mix.

    NB: files of batches may lie beside the weights, and outlive them.
    """
    destination.mkdir(parents=True, exist_ok=True)
    if not (destination / MARKER).is_file():
        return
    (destination / MARKER).unlink()
    for entry in destination.iterdir():
        if entry.name == BATCH_FOLDER:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink()


def _fetch_hub(uri: ModelUri, destination: Path, say_progress: Say) -> None:
    from pagoda_cli.fetch import hub

    snapshot = hub.list_snapshot(uri)
    hub.drop_abandoned(destination)
    with show_progress(destination, snapshot.total_bytes, say_progress):
        hub.fetch_snapshot(uri, snapshot, destination)
    _verify_object(uri, destination / "config.json")


def _fetch_hub_configuration(uri: ModelUri, destination: Path) -> None:
    from pagoda_cli.fetch import hub

    hub.fetch_configuration(uri, hub.list_snapshot(uri), destination)
    _verify_object(uri, destination / "config.json")


def _fetch_bundled(uri: ModelUri, destination: Path) -> None:
    _copy_files(_find_bundled(uri), destination)


def _find_bundled(uri: ModelUri) -> Traversable:
    try:
        source = resources.files("sample_model") / uri.path
    except ModuleNotFoundError as error:
        raise FetchError(
            "ModelNotFound", f"URI {uri.text}: this installation ships no models: install pagoda again"
        ) from error
    if not source.is_dir():
        near = suggest(uri.path, _list_bundled())
        fix = f"did you mean bundled://{near}?" if near is not None else f"use {_bundled_names()} or an hf:// URI"
        raise FetchError("ModelNotFound", f"URI {uri.text} is not shipped: {fix}")
    return source


def _copy_files(source: Traversable, destination: Path) -> None:
    for entry in source.iterdir():
        if entry.is_file() and is_wanted(entry.name):
            partial = destination / f"{entry.name}.partial"
            with entry.open("rb") as reader, partial.open("wb") as writer:
                shutil.copyfileobj(reader, writer, 1 << 20)
            partial.replace(destination / entry.name)


def _list_bundled() -> list[str]:
    entries = resources.files("sample_model").iterdir()
    return sorted(entry.name for entry in entries if (entry / "config.json").is_file())


def _bundled_names() -> str:
    names = _list_bundled() or ["pagoda-tiny (missing from this installation)"]
    return ", ".join(f"bundled://{name}" for name in names)


def _fetch_file(uri: ModelUri, destination: Path) -> None:
    """Links instead of copying: the files are on this machine already."""
    source = Path(uri.path)
    if not source.is_dir():
        raise FetchError("ModelNotFound", f"URI {uri.text} is not a folder here: correct the path")
    for entry in sorted(source.iterdir()):
        if entry.is_file() and is_wanted(entry.name):
            link = destination / entry.name
            link.unlink(missing_ok=True)
            link.symlink_to(entry.resolve())
