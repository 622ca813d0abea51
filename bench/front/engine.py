"""The engine process with a clock in the place of the device: one token for each stream every so many milliseconds.

Everything else is the real thing (socket, stepping thread, scheduler), so that its CPU time is too. A prompt costs no
time: what is measured is the way of a token from the step to the client.
"""

import argparse
import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

from pagoda_guard.parent import end_with_parent
from pagoda_server.engine.batch import Chunk, Limits
from pagoda_server.engine.engine import Engine
from pagoda_server.engine.pages import PagePool
from pagoda_server.engine.runner import PendingStep, Sampled
from pagoda_server.process.engine import EngineServer
from pagoda_server.start.build import BuiltEngine
from pagoda_server.wire import Hello

MODEL_LEN, PAGE_SIZE, SPECIAL_TOKENS = 4096, 64, 2
STRIDE = 7919
"""A prime, so that successive tokens are words from all over the vocabulary."""


class PacedRunner:
    """Works on one step at a time, as a device does, and lets the engine prepare the next meanwhile."""

    def __init__(self, step_seconds: float, vocab_size: int) -> None:
        self._step_seconds = step_seconds
        self._vocab_size = vocab_size
        self._free_at = 0.0

    def launch(self, chunks: Sequence[Chunk]) -> PendingStep:
        self._free_at = ready_at = max(time.monotonic(), self._free_at) + self._step_seconds
        words = self._vocab_size - SPECIAL_TOKENS
        sampled: list[Sampled] = [
            (SPECIAL_TOKENS + (chunk.end + chunk.request.row) * STRIDE % words, None)
            for chunk in chunks
            if chunk.is_sampled
        ]

        def wait() -> list[Sampled]:
            time.sleep(max(0.0, ready_at - time.monotonic()))
            return sampled

        return PendingStep(wait, run_ahead=1)

    def prepare_next(self, *, idle: bool = True) -> bool:
        return False


def build_paced_engine(streams: int, step_seconds: float, vocab_size: int) -> BuiltEngine:
    limits = Limits(MODEL_LEN, streams, streams * MODEL_LEN, vocab_size)
    pool = PagePool(streams * MODEL_LEN // PAGE_SIZE, PAGE_SIZE)
    engine = Engine(PacedRunner(step_seconds, vocab_size), limits, pool, prefix_caching=False)
    hello = Hello(MODEL_LEN, streams, vocab_size, [], "clock", "none")
    return BuiltEngine(engine, hello)


async def serve(args: argparse.Namespace) -> None:
    server = EngineServer(build_paced_engine(args.streams, args.step_ms / 1000, args.vocab_size))
    await server.serve(args.socket, on_ready=lambda: None)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.front.engine", description=__doc__)
    parser.add_argument("--socket", type=Path, required=True)
    parser.add_argument("--streams", type=int, required=True)
    parser.add_argument("--step-ms", type=float, required=True)
    parser.add_argument("--vocab-size", type=int, required=True)
    parser.add_argument("--parent-pid", type=int, required=True, help="the supervisor, with which this process ends")
    parser.add_argument("--reason-fd", type=int, help="of the supervisor; nothing is written into it")
    args = parser.parse_args()
    end_with_parent(args.parent_pid)
    asyncio.run(serve(args))


if __name__ == "__main__":
    main()
