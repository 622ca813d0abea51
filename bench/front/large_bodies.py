"""How long a large prompt holds up the event loop, and what a thread costs: the reasons of `http/intake.py`."""

import argparse
import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import uvloop

from pagoda_server.text.tokenizer import read_tokenizer

ROOT = Path(__file__).parents[2]
TINY = ROOT / "server_image" / "sample_model" / "pagoda-tiny"
LARGE_CHARACTERS = 4_000_000


async def measure_gap(work: Callable[[], object]) -> tuple[float, float]:
    """Returns the seconds of `work` in a thread, and the longest time in which the loop was not served."""
    task, longest, begin = asyncio.create_task(asyncio.to_thread(work)), 0.0, time.perf_counter()
    while not task.done():
        before = time.perf_counter()
        await asyncio.sleep(0.001)
        longest = max(longest, time.perf_counter() - before)
    return time.perf_counter() - begin, longest


async def measure(folder: Path) -> None:
    tokenizer = read_tokenizer(folder)
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    begin = time.perf_counter()
    for _ in range(1000):
        await asyncio.to_thread(int)
    print(f"a thread is reached in {(time.perf_counter() - begin) * 1e3:.0f} µs")
    for size in (512, 2048, 8192):
        begin = time.perf_counter()
        for _ in range(100):
            tokenizer.encode_chat([{"role": "user", "content": text[:size]}])
        print(f"{size} characters are encoded in {(time.perf_counter() - begin) * 10:.2f} ms")
    large = [{"role": "user", "content": (text * 1000)[:LARGE_CHARACTERS]}]
    seconds, gap = await measure_gap(lambda: tokenizer.encode_chat(large))
    print(f"{LARGE_CHARACTERS} characters take {seconds:.2f} s in a thread; the loop waits {gap * 1e3:.0f} ms at most")


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench large-bodies", description=__doc__)
    parser.add_argument(
        "folder", type=Path, nargs="?", default=TINY, help="of a tokenizer (default: the bundled model's)"
    )
    uvloop.run(measure(parser.parse_args(argv).folder))
    return 0
