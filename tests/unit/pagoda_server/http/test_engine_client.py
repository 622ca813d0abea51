"""The front's end of the engine's socket."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pagoda_server.http.engine_client import EngineClient, EngineGone, RequestRejected
from pagoda_server.wire import (
    MAX_FRAME_BYTES,
    Abort,
    Delta,
    Deltas,
    FromEngine,
    Rejected,
    Sampling,
    Submit,
    ToEngine,
    decode_to_engine,
    encode_frame,
    frame,
    read_frame,
)
from tests.doubles.engine import HELLO, STATS


@dataclass
class Pair:
    client: EngineClient
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def receive(self) -> ToEngine:
        return decode_to_engine(await read_frame(self.reader))

    async def send(self, *messages: FromEngine) -> None:
        """Returns when the client has read them: frames are read in order, and Stats are kept."""
        self.client.stats = None
        self.writer.write(b"".join(encode_frame(message) for message in (*messages, STATS)))
        async with asyncio.timeout(10):
            while self.client.stats is None:
                await asyncio.sleep(0)


def submit(name: str) -> Submit:
    return Submit(name, [1], Sampling(max_tokens=9))


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    accepted: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(encode_frame(HELLO))
        accepted.put_nowait((reader, writer))

    async with await asyncio.start_unix_server(accept, tmp_path / "e.sock"):
        client = await EngineClient.connect(tmp_path / "e.sock")
        reader, writer = await accepted.get()
        yield Pair(client, reader, writer)
        await client.close()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def test_what_comes_while_the_reader_is_busy_is_one_delta(pair: Pair) -> None:
    async with pair.client.generate([submit("a"), submit("b")]) as generation:
        await pair.send(Deltas([Delta("a", [1], None, None, 3), Delta("b", [7])]), Deltas([Delta("a", [2])]))
        await pair.send(Deltas([Delta("a", [3], None, "length")]))
        first, second = await generation.next()
        assert first == Delta("a", [1, 2, 3], None, "length", 3) and second == Delta("b", [7])
        assert not generation.finished
        await pair.send(Deltas([Delta("b", [], None, "stop")]))
        assert [delta.finish_reason for delta in await generation.next()] == ["stop"]
        assert generation.finished


async def test_a_failure_is_raised_after_what_came_before_it(pair: Pair) -> None:
    async with pair.client.generate([submit("a")]) as generation:
        await pair.send(Deltas([Delta("a", [1])]))
        pair.writer.close()
        await pair.client.wait_gone()
        assert await generation.next() == [Delta("a", [1])]
        with pytest.raises(EngineGone):
            await generation.next()


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ((MAX_FRAME_BYTES + 1).to_bytes(4, "big"), "a frame of 67108865 bytes"),
        (frame(b"\xc1"), "MessagePack data is malformed"),
        (encode_frame(HELLO), "Hello twice"),
    ],
)
async def test_an_engine_that_makes_no_sense_is_left_and_the_log_says_why(
    sent: bytes, said: str, pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    async with pair.client.generate([submit("a")]) as generation:
        pair.writer.write(sent)
        await pair.client.wait_gone()
        with pytest.raises(EngineGone):
            await generation.next()
    assert not pair.client.alive
    assert said in caplog.text


async def test_a_refusal_reaches_only_its_own_request(pair: Pair) -> None:
    async with pair.client.generate([submit("a")]) as one, pair.client.generate([submit("b")]) as other:
        await pair.send(Rejected("a", "too long", "prompt"), Deltas([Delta("b", [1], None, "length")]))
        with pytest.raises(RequestRejected, match="too long"):
            await one.next()
        assert await other.next() == [Delta("b", [1], None, "length")]


async def test_leaving_aborts_what_is_not_finished_and_nothing_else(pair: Pair) -> None:
    async with pair.client.generate([submit("a"), submit("b")]) as generation:
        await pair.send(Deltas([Delta("a", [1], None, "length")]))
        await generation.next()
    assert [await pair.receive() for _ in range(3)] == [submit("a"), submit("b"), Abort("b")]
    await pair.send(Deltas([Delta("b", [1])]))  # was under way
