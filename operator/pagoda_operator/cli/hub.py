"""A model from the Hugging Face hub, or from what speaks its API (HF_ENDPOINT): listed first, fetched, then checked.

The listing pins the commit, so that two replicas never mix two of them, and says before the first byte what is missing.
NB: `snapshot_download` returns a folder that is not complete when it cannot reach the hub; hence the check by size.
"""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi, errors, snapshot_download
from huggingface_hub.utils import disable_progress_bars

from pagoda_operator.cli.model_uri import FetchError, ModelUri
from pagoda_operator.cli.weights import PICKLES, REFUSED, WANTED, is_wanted

PARTIAL_FILES = ".cache/huggingface/download/**/*.incomplete"
ABANDONED_AFTER_SECONDS = 600.0
TOKEN_FIX = "set model.tokenSecretRef (or HF_TOKEN) to a token that may read it"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The wanted files of one commit, with their sizes where the hub says them."""

    commit: str
    sizes: dict[str, int | None]

    @property
    def total_bytes(self) -> int | None:
        sizes = [size for size in self.sizes.values() if size is not None]
        return sum(sizes) if len(sizes) == len(self.sizes) else None


def list_snapshot(uri: ModelUri) -> Snapshot:
    """Raises FetchError, also when the repository holds nothing that is served."""
    try:
        info = HfApi().model_info(uri.path, revision=uri.revision, files_metadata=True)
    except Exception as error:
        raise explain_hub_error(uri, error) from error
    files = {sibling.rfilename: sibling.size for sibling in info.siblings or []}
    _refuse_unservable(uri, list(files))
    return Snapshot(str(info.sha), {name: size for name, size in files.items() if is_wanted(name)})


def _refuse_unservable(uri: ModelUri, names: list[str]) -> None:
    if not any(is_wanted(name) and name.endswith(".safetensors") for name in names):
        pickles = sorted(name for name in names if name.endswith(PICKLES))
        found = f" (only {', '.join(pickles[:3])}, which is never loaded)" if pickles else ""
        fix = "choose a revision or a repository that has model.safetensors"
        raise FetchError("ModelNotFound", f"URI {uri.text} has no safetensors weights{found}: {fix}")
    if "config.json" not in names:
        fix = "it is not a model that transformers knows: choose another repository"
        raise FetchError("ModelNotFound", f"URI {uri.text} has no config.json: {fix}")


def fetch_snapshot(uri: ModelUri, snapshot: Snapshot, destination: Path) -> None:
    """Raises FetchError. What an earlier fetch completed is not fetched again; a cut file goes on where it was cut."""
    disable_progress_bars()
    try:
        snapshot_download(
            uri.path,
            revision=snapshot.commit,
            local_dir=destination,
            allow_patterns=list(WANTED),
            ignore_patterns=list(REFUSED),
        )
    except Exception as error:
        raise explain_hub_error(uri, error) from error
    for name, size in snapshot.sizes.items():
        path = destination / name
        if not path.is_file() or size not in (None, path.stat().st_size):
            raise FetchError("ModelDownloadFailed", f"URI {uri.text}: {name} is not complete: try again")


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
    """Name what the hub's error means to the user, and the fix."""
    cause = _find_answer(error)
    status = getattr(getattr(cause, "response", None), "status_code", None)
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
    detail = _without_token(" ".join(str(cause).split())[:300] or type(cause).__name__)
    return FetchError(
        "ModelDownloadFailed", f"URI {uri.text}: {detail}: check the network and the disk's space, and try again"
    )


def _find_answer(error: Exception) -> BaseException:
    """The hub's answer, where the library hides it behind a "not found locally"; else the error itself."""
    return next((cause for cause in _causes(error) if isinstance(cause, errors.HfHubHTTPError)), error)


def _causes(error: BaseException) -> Iterator[BaseException]:
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__


def _without_token(text: str) -> str:
    token = os.environ.get("HF_TOKEN", "").strip()
    return text.replace(token, "***") if token else text
