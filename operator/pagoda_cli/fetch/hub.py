"""A model from the Hugging Face hub, or from what speaks its API (HF_ENDPOINT): listed first, fetched, then checked.

The listing pins the commit, so that two replicas never mix two of them, and says before the first byte what is missing
and whether the disk has room for it. Nothing is fetched beyond what it says.
"""

import contextlib
import re
import shutil
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

from huggingface_hub import constants, errors, get_token, hf_hub_url
from huggingface_hub.utils import validate_repo_id

from pagoda_cli.fetch.download import DownloadError, download_file, read_answer
from pagoda_cli.fetch.listing import (
    MAX_LISTING_BYTES,
    ListedFile,
    ListingError,
    Snapshot,
    is_there,
    parse_listing,
)
from pagoda_cli.fetch.model_uri import FetchError, ModelUri
from pagoda_cli.fetch.weights import CONFIGURATION, PICKLES, is_wanted

WORK_FOLDER = ".pagoda-fetch"
COMMIT_FILE = f"{WORK_FOLDER}/commit"
PARTIAL_FILES = f"{WORK_FOLDER}/*.incomplete"
ABANDONED_AFTER_SECONDS = 600.0
FILES_AT_ONCE = 8
TOKEN_FIX = "set model.tokenSecretRef (or HF_TOKEN) to a token that may read it"


def list_snapshot(uri: ModelUri) -> Snapshot:
    """Raises FetchError, also when the repository holds nothing that is served."""
    revision = f"/revision/{quote(uri.revision, safe='')}" if uri.revision is not None else ""
    try:
        validate_repo_id(uri.path)
        raw = read_answer(f"{constants.ENDPOINT}/api/models/{uri.path}{revision}?blobs=true", MAX_LISTING_BYTES)
        snapshot = parse_listing(raw)
    except Exception as error:
        raise explain_hub_error(uri, error) from error
    _refuse_unservable(uri, snapshot.names)
    return snapshot


def _refuse_unservable(uri: ModelUri, names: tuple[str, ...]) -> None:
    if not any(is_wanted(name) and name.endswith(".safetensors") for name in names):
        pickles = sorted(name for name in names if name.endswith(PICKLES))
        found = f" (only {', '.join(name[:60] for name in pickles[:3])}, which is never loaded)" if pickles else ""
        fix = "choose a revision or a repository that has model.safetensors"
        raise FetchError("ModelNotFound", f"URI {uri.text} has no safetensors weights{found}: {fix}")
    if "config.json" not in names:
        fix = "it is not a model that transformers knows: choose another repository"
        raise FetchError("ModelNotFound", f"URI {uri.text} has no config.json: {fix}")


def fetch_configuration(uri: ModelUri, snapshot: Snapshot, destination: Path) -> None:
    """Fetches what says which model it is, and is kept by `fetch_snapshot`. Raises FetchError."""
    missing = _find_missing(uri, snapshot, destination)
    _fetch_missing(uri, snapshot, [file for file in missing if file.name in CONFIGURATION], destination)


def fetch_snapshot(uri: ModelUri, snapshot: Snapshot, destination: Path) -> None:
    """Raises FetchError. What an earlier fetch of this commit completed is not fetched again."""
    _fetch_missing(uri, snapshot, _find_missing(uri, snapshot, destination), destination)
    with contextlib.suppress(OSError):  # another pod may be fetching into the same claim
        (destination / COMMIT_FILE).unlink()
        (destination / WORK_FOLDER).rmdir()


def _find_missing(uri: ModelUri, snapshot: Snapshot, destination: Path) -> list[ListedFile]:
    """Raises FetchError when there is no room for them."""
    missing = [file for file in snapshot.files if not _is_kept(file, snapshot.commit, destination)]
    _refuse_without_room(uri, missing, destination)
    return missing


def _fetch_missing(uri: ModelUri, snapshot: Snapshot, missing: list[ListedFile], destination: Path) -> None:
    try:
        (destination / WORK_FOLDER).mkdir(exist_ok=True)
        (destination / COMMIT_FILE).write_text(snapshot.commit, encoding="utf-8")
        _fetch_files(uri, snapshot.commit, missing, destination)
    except Exception as error:
        raise explain_hub_error(uri, error) from error


def _is_kept(file: ListedFile, commit: str, destination: Path) -> bool:
    try:
        return (destination / COMMIT_FILE).read_text(encoding="utf-8") == commit and is_there(file, destination)
    except (OSError, UnicodeDecodeError):
        return False


def _refuse_without_room(uri: ModelUri, missing: list[ListedFile], destination: Path) -> None:
    needed, free = sum(file.size_bytes for file in missing), shutil.disk_usage(destination).free
    if needed > free:
        fix = "make room, or give it a volume (model.cache.pvc.size) that is large enough"
        sizes = f"its files need {needed / 1e9:.3f} GB, and {destination} has {free / 1e9:.3f} GB free"
        raise FetchError("ModelDownloadFailed", f"URI {uri.text}: {sizes}: {fix}")


def _fetch_files(uri: ModelUri, commit: str, files: list[ListedFile], destination: Path) -> None:
    """Fetches several files at once; the first failure ends the others."""
    stop = threading.Event()
    failures: list[Exception] = []

    def fetch(file: ListedFile) -> None:
        if stop.is_set():
            return
        try:
            _fetch_file(hf_hub_url(uri.path, file.name, revision=commit), file, destination, stop)
        except Exception as error:
            failures.append(error)
            stop.set()

    with ThreadPoolExecutor(FILES_AT_ONCE) as pool:
        pool.map(fetch, files)
    if failures:
        raise failures[0]


def _fetch_file(url: str, file: ListedFile, destination: Path, stop: threading.Event) -> None:
    partial = destination / WORK_FOLDER / f"{uuid.uuid4().hex}.incomplete"
    try:
        download_file(url, file, partial, stop)
        (destination / file.name).parent.mkdir(exist_ok=True)
        partial.replace(destination / file.name)
    finally:
        partial.unlink(missing_ok=True)


def drop_abandoned(destination: Path) -> None:
    """Parts that a killed fetch left are never used again, and would fill a claim restart by restart.

    NB: another pod may be fetching into the same claim; its parts are young.
    """
    for path in destination.glob(PARTIAL_FILES):
        try:
            if time.time() - path.stat().st_mtime > ABANDONED_AFTER_SECONDS:
                path.unlink()
        except FileNotFoundError:
            continue


def explain_hub_error(uri: ModelUri, error: Exception) -> FetchError:
    """Returns what the hub's error means to the user, and the fix."""
    cause = _find_answer(error)
    status = getattr(getattr(cause, "response", None), "status_code", None)
    if isinstance(cause, (DownloadError, ListingError)):
        return FetchError("ModelDownloadFailed", f"URI {uri.text}: {cause}: try again, or use another hub or revision")
    if isinstance(cause, errors.GatedRepoError):
        return FetchError(
            "ModelDownloadDenied", f"URI {uri.text} is gated: accept its licence on the hub and {TOKEN_FIX}"
        )
    if isinstance(cause, errors.RevisionNotFoundError):
        return FetchError(
            "ModelNotFound", f"URI {uri.text}: no revision {uri.revision!r}: use a branch, tag or commit of {uri.path}"
        )
    if isinstance(cause, (errors.RepositoryNotFoundError, errors.HFValidationError)) or status == 404:
        fix = f"check organisation and name; if it is private, {TOKEN_FIX}"
        return FetchError("ModelNotFound", f"URI {uri.text} is not on the hub: {fix}")
    if status in (401, 403):
        return FetchError("ModelDownloadDenied", f"URI {uri.text}: the hub answered HTTP {status}: {TOKEN_FIX}")
    detail = without_secrets(str(cause) or type(cause).__name__)[:300]
    return FetchError(
        "ModelDownloadFailed", f"URI {uri.text}: {detail}: check the network and the disk's space, and try again"
    )


def _find_answer(error: Exception) -> BaseException:
    """Returns the hub's answer where the library hides it behind another error, else the error itself."""
    return next((cause for cause in _causes(error) if isinstance(cause, errors.HfHubHTTPError)), error)


def _causes(error: BaseException) -> Iterator[BaseException]:
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__


def without_secrets(text: str) -> str:
    """Removes the token, and from URLs what follows `?` (a signature) or precedes `@` (a password)."""
    token = (get_token() or "").strip()
    text = text.replace(token, "***") if token else text
    return re.sub(r"(https?://)[^\s/'\"@]*@", r"\1", re.sub(r"(https?://[^\s?'\"]*)\?[^\s'\"]*", r"\1", text))
