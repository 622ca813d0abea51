"""An engine without a model: it speaks the engine's end of the socket, and a test says what it answers, and when.

As a program, with its socket as argument, it writes the first token of each answer at once, the rest after SIGUSR1.
"""

import asyncio
import contextlib
import signal
import sys
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field

from pagoda_server.wire import (
    Abort,
    Delta,
    Deltas,
    FinishReason,
    Hello,
    Judge,
    Judged,
    PromptLogprobs,
    Stats,
    Submit,
    Timing,
    TokenLogprobs,
    decode_to_engine,
    encode_frame,
    read_frame,
)

END = 0
"""The id of the token that ends an answer."""
HELLO = Hello(200, 8, 300, [END], "cpu", "float32")
STATS = Stats(True, 1, 2, 30, 100.0, 250.0, "observed", 5, 3, 10, 4, 50, 20, 60, 70)


def score_prompt(token_ids: list[int], wanted: int) -> list[PromptLogprobs]:
    """Returns -1, -2 … for the tokens after the first, in two parts; the likeliest are tokens 1, 2 … everywhere."""
    parts, half = [], len(token_ids) // 2
    for start, end in ((1, half), (half, len(token_ids))):
        positions = range(max(1, start), end)
        ids = array("i", [1 + rank for _ in positions for rank in range(wanted)])
        top = array("f", [-0.5 - rank for _ in positions for rank in range(wanted)])
        chosen = array("f", [-float(at) for at in positions])
        if positions:
            parts.append(PromptLogprobs(positions[0], chosen.tobytes(), ids.tobytes(), top.tobytes()))
    return parts


@dataclass
class FakeEngine:
    encode: Callable[[str], list[int]]
    """Makes the tokens of `answer`."""
    hello: Hello = HELLO
    answer: str = "Hello wörld 😀!"
    gate: asyncio.Event | None = None
    """Given: after the first token, wait for it."""
    fails: bool = False
    """Ends every answer with an error after its first token."""
    stats_every_seconds: float | None = None
    """None: once, behind the greeting."""
    submitted: list[Submit] = field(default_factory=list)
    aborted: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    done: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once a front has left."""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(encode_frame(self.hello) + encode_frame(STATS))
        telling = asyncio.create_task(self._tell(writer))
        tasks: dict[str, asyncio.Task[None]] = {}
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                message = decode_to_engine(await read_frame(reader))
                if isinstance(message, Abort):
                    tasks[message.request_id].cancel()
                    self.aborted.put_nowait(message.request_id)
                elif isinstance(message, Judge):
                    writer.write(encode_frame(Judged(message.request_id)))
                else:
                    self.submitted.append(message)
                    tasks[message.request_id] = asyncio.create_task(self._run(message, writer))
        for task in (telling, *tasks.values()):
            task.cancel()
        await asyncio.gather(telling, *tasks.values(), return_exceptions=True)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        self.done.set()

    async def _tell(self, writer: asyncio.StreamWriter) -> None:
        while self.stats_every_seconds is not None:
            await asyncio.sleep(self.stats_every_seconds)
            writer.write(encode_frame(STATS))

    async def _run(self, submit: Submit, writer: asyncio.StreamWriter) -> None:
        ids = [*self.encode(self.answer), END]
        count = min(len(ids), submit.sampling.max_tokens)
        if (wanted := submit.sampling.prompt_logprobs) is not None:
            for part in score_prompt(submit.prompt_token_ids, wanted):
                writer.write(encode_frame(Deltas([Delta(submit.request_id, [], prompt_logprobs=[part])])))
        if count == 0:
            writer.write(encode_frame(Deltas([Delta(submit.request_id, [], None, "length")])))
        for at in range(count):
            if at == 1 and self.gate is not None:
                await self.gate.wait()
            last = at == count - 1
            reason: FinishReason | None = None if not last else "stop" if ids[at] == END else "length"
            if at == 1 and self.fails:
                writer.write(encode_frame(Deltas([Delta(submit.request_id, [], None, "error")])))
                return
            if submit.is_traced and at == 0:
                now = time.monotonic()
                writer.write(encode_frame(Timing(submit.request_id, now - 3, now - 2, now - 1, prefill_steps=5)))
            top = submit.sampling.logprobs
            scores = None if top is None else [TokenLogprobs(-0.5, [(1 + i, -0.5 - i) for i in range(top)])]
            writer.write(encode_frame(Deltas([Delta(submit.request_id, [ids[at]], scores, reason, 2)])))
            await asyncio.sleep(0)


async def main(path: str) -> None:
    engine = FakeEngine(lambda text: [65] * len(text), gate=asyncio.Event(), stats_every_seconds=0.5)
    assert engine.gate is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, engine.gate.set)
    async with await asyncio.start_unix_server(engine.handle, path) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
