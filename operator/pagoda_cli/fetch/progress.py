"""How far a long download is: percent, rate and time left, as lines in a log and as one line in a terminal."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

EVERY_SECONDS = 5.0
BATCH_FOLDER = "pagoda-batch"
"""The folder of a model's claim that holds no weights: files of batches (`pagoda_operator.objects.batch`)."""
CLEAR_LINE = "\r\x1b[2K"

Say = Callable[[str], None]


def describe_progress(done_bytes: int, total_bytes: int | None, bytes_per_second: float) -> str:
    rate = f"{bytes_per_second / 1e6:.1f} MB/s"
    if not total_bytes:
        return f"{done_bytes / 1e6:.1f} MB, {rate}"
    done_bytes = min(done_bytes, total_bytes)
    line = f"{100 * done_bytes / total_bytes:.0f} % of {total_bytes / 1e6:.1f} MB, {rate}"
    if bytes_per_second <= 0:
        return line
    return f"{line}, {(total_bytes - done_bytes) / bytes_per_second:.0f} s left"


@contextlib.contextmanager
def show_progress(
    folder: Path, total_bytes: int | None, say: Say, every_seconds: float = EVERY_SECONDS
) -> Iterator[None]:
    """Says every few seconds how much is in `folder`, and at the end clears the line.

    NB: the rate is of what arrives now, not of what was there.
    """
    done = threading.Event()

    def watch() -> None:
        before, then = count_bytes(folder), time.monotonic()
        while not done.wait(every_seconds):
            size, now = count_bytes(folder), time.monotonic()
            say(f"fetch: {describe_progress(size, total_bytes, (size - before) / (now - then))}")
            before, then = size, now

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        say("")


def count_bytes(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        if BATCH_FOLDER in path.relative_to(folder).parts:
            continue
        with contextlib.suppress(FileNotFoundError):  # a partial file may be renamed while it is counted
            total += path.stat().st_size if path.is_file() else 0
    return total


def open_terminal(stream: TextIO) -> tuple[Say, Say]:
    """Returns how to say a line and how to say progress, which the next line overwrites in a terminal.

    An empty line of progress clears the last, where there is one to clear.
    """

    def say(line: str) -> None:
        print(f"{CLEAR_LINE}{line}" if stream.isatty() else line, file=stream, flush=True)

    def say_over(line: str) -> None:
        print(f"{CLEAR_LINE}{line}", file=stream, end="", flush=True)

    def say_unless_empty(line: str) -> None:
        if line:
            say(line)

    return say, say_over if stream.isatty() else say_unless_empty
