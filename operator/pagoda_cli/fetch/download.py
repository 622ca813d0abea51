"""Bytes from a hub into a file, never more of them than it listed.

The library's own download is not used: it takes an answer for as long as it is, inflates it, and follows a redirect to
plain HTTP. Its session, headers and errors are. An answer is read as it comes over the wire, so that what is counted is
what is kept; it ends at its size, at a silence, at a crawl, or when another file has failed.
"""

import hashlib
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from huggingface_hub import constants, errors
from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

from pagoda_cli.fetch.listing import ListedFile

BLOCK_BYTES = 10 << 20
LONGEST_BLOCK_SECONDS = 600.0
"""A hub that takes longer for a block, 17 kB/s, has stalled. NB: one that is silent, after HF_HUB_DOWNLOAD_TIMEOUT."""
LONGEST_LISTING_SECONDS = 60.0
MAX_REDIRECTS = 5
MAX_FAILURES = 5
"""How often in a row an attempt may bring nothing."""
PAUSE_SECONDS = 1.0
TRY_AGAIN_STATUSES = frozenset({408, 429, 500, 502, 503, 504})


class DownloadError(Exception):
    """The hub sends something else than it lists, or sends it elsewhere; trying again is of no use."""


class _Interrupted(Exception):
    """The answer broke off, or did not come."""


@dataclass(slots=True)
class _Partial:
    """A file as far as it has come."""

    listed: ListedFile
    file: BinaryIO
    done_bytes: int = 0
    digest: Any = field(default_factory=hashlib.sha256)

    def add(self, block: bytes | bytearray) -> None:
        self.file.write(block)
        self.digest.update(block)
        self.done_bytes += len(block)

    def restart(self) -> None:
        self.file.seek(0)
        self.file.truncate()
        self.done_bytes, self.digest = 0, hashlib.sha256()

    def check_digest(self) -> None:
        if self.listed.sha256 not in (None, self.digest.hexdigest()):
            raise DownloadError(f"{self.listed.name} is not the file that the hub lists (its SHA-256 differs)")


def read_answer(url: str, limit_bytes: int) -> bytes:
    """Returns a short answer whole. Raises DownloadError, HfHubHTTPError, or what the session raises."""
    deadline = time.monotonic() + LONGEST_LISTING_SECONDS
    content = bytearray()
    with _open_answer(url) as response:
        for piece in response.iter_raw():
            content += piece
            if len(content) > limit_bytes:
                raise DownloadError(f"the hub's listing has more than {limit_bytes} bytes")
            if time.monotonic() > deadline:
                raise DownloadError(f"the hub's listing took longer than {LONGEST_LISTING_SECONDS:.0f} s")
    return bytes(content)


def download_file(url: str, listed: ListedFile, partial: Path, stop: threading.Event) -> None:
    """Fills `partial`, a new file, and resumes a download that was cut. Raises what `read_answer` does."""
    with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644), "wb") as file:
        state = _Partial(listed, file)
        failures = 0
        while state.done_bytes < listed.size_bytes:
            before = state.done_bytes
            try:
                _take_answer(url, state, stop)
            except _Interrupted:
                failures = 0 if state.done_bytes > before else failures + 1
                if failures >= MAX_FAILURES or stop.wait(PAUSE_SECONDS):
                    raise
        state.check_digest()
        file.flush()
        os.fsync(file.fileno())


def _take_answer(url: str, state: _Partial, stop: threading.Event) -> None:
    """Appends one answer's blocks. Raises _Interrupted when they are fewer than were missing."""
    try:
        with _open_answer(url, state.done_bytes) as response:
            if state.done_bytes and response.status_code != 206:
                state.restart()
            left = state.listed.size_bytes - state.done_bytes
            _check_head(response, state, left)
            for block in _read_blocks(response, left, state.listed.name, stop):
                state.add(block)
    except (OSError, DownloadError):
        raise
    except errors.HfHubHTTPError as error:
        if error.response.status_code not in TRY_AGAIN_STATUSES:
            raise
        raise _Interrupted(str(error)) from error
    except Exception as error:  # the session's own errors, whichever HTTP library it has
        raise _Interrupted(str(error) or type(error).__name__) from error
    if state.done_bytes < state.listed.size_bytes:
        raise _Interrupted(f"{state.listed.name} broke off after {state.done_bytes} bytes")


def _check_head(response: Any, state: _Partial, left: int) -> None:
    length = response.headers.get("Content-Length", str(left))
    if length != str(left):
        raise DownloadError(f"the hub sends {length[:20]} bytes of {state.listed.name}, of which it lists {left}")
    if state.done_bytes and not response.headers.get("Content-Range", "").startswith(f"bytes {state.done_bytes}-"):
        raise DownloadError(f"the hub sends another part of {state.listed.name} than it was asked for")


def _read_blocks(response: Any, left: int, name: str, stop: threading.Event) -> Iterator[bytearray]:
    block, deadline = bytearray(), time.monotonic() + LONGEST_BLOCK_SECONDS
    for piece in response.iter_raw():
        block += piece
        if len(block) > left:
            raise DownloadError(f"the hub sends more of {name} than the size that it lists")
        if stop.is_set():
            raise DownloadError("another file failed")
        if time.monotonic() > deadline:
            raise DownloadError(f"{name} comes slower than {BLOCK_BYTES / LONGEST_BLOCK_SECONDS / 1e3:.0f} kB/s")
        if len(block) >= BLOCK_BYTES or len(block) == left:
            yield block
            left -= len(block)
            block, deadline = bytearray(), time.monotonic() + LONGEST_BLOCK_SECONDS


@contextmanager
def _open_answer(url: str, start: int = 0) -> Iterator[Any]:
    """Opens the answer to a GET from byte `start`, following redirects."""
    response = _follow(url, {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {}))
    try:
        if response.status_code not in (200, 206):
            _raise_for_status(response)
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise DownloadError("the hub compresses what it was asked to send as it is")
        yield response
    finally:
        response.close()


def _follow(url: str, headers: dict[str, str]) -> Any:
    session, timeout = get_session(), constants.HF_HUB_DOWNLOAD_TIMEOUT
    request = session.build_request("GET", url, headers=build_hf_headers() | headers, timeout=timeout)
    scheme = request.url.scheme
    for _ in range(MAX_REDIRECTS + 1):
        response = session.send(request, stream=True, follow_redirects=False)
        if response.next_request is None:
            return response
        response.close()
        request = response.next_request  # NB: for another host the session leaves the token out
        if request.url.scheme not in ("https", scheme):
            raise DownloadError(f"the hub redirects to {request.url.scheme}://, where https:// is needed")
    raise DownloadError(f"the hub redirects more than {MAX_REDIRECTS} times")


def _raise_for_status(response: Any) -> None:
    """Judges the head alone. NB: the library would read the body of an error, however long it is."""
    headers = {name: response.headers[name] for name in ("X-Error-Code", "X-Error-Message") if name in response.headers}
    bare = type(response)(response.status_code, headers=headers, content=b"{}", request=response.request)
    hf_raise_for_status(bare)
    raise DownloadError(f"the hub answers HTTP {response.status_code}")
