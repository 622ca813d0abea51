"""A pod that answers `/load` may be anybody's: any bytes become a load or "unknown", in bounded time and memory."""

import asyncio
import gzip
import json
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagoda_guard.parsing import BadInput
from pagoda_guard.tasks import Tasks
from pagoda_operator.cluster.loads import ANSWER_LIMIT_BYTES, body_of, missing_bytes, parse_load, read_load
from pagoda_operator.controller.load_reader import LoadReader
from pagoda_operator.controller.store import Store
from pagoda_operator.plan.loads import Load

GOOD = {"tokens_per_second": 5, "demand_tokens_per_second": 7.5, "capacity_tokens_per_second": 100.0}
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
MEMORY_LIMIT_BYTES = 8 * 2**20

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


def whole(body: bytes, *headers: bytes) -> Answer:
    head = OK + b"".join(header + b"\r\n" for header in headers) + b"Content-Length: %d\r\n\r\n" % len(body)
    return lambda writer: send(writer, head + body)


async def send(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()


def endless(start: bytes, piece: bytes) -> Answer:
    async def answer(writer: asyncio.StreamWriter) -> None:
        await send(writer, start)
        while True:
            await send(writer, piece)

    return answer


async def silent(_: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def drip(writer: asyncio.StreamWriter) -> None:
    for byte in OK + b"Content-Length: 50\r\n\r\n" + b" " * 49:
        await send(writer, bytes([byte]))
    await asyncio.Event().wait()


@asynccontextmanager
async def pod_that_answers(answer: Answer) -> AsyncIterator[int]:
    """The port of a server on the loopback that answers every request so."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await answer(writer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


NOT_A_LOAD: dict[str, bytes] = {
    "null": b"null",
    "a list": b"[1]",
    "a number": b"5",
    "nothing": b"",
    "infinite": json.dumps(GOOD).replace("7.5", "1e999").encode(),
    "401 digits": json.dumps(GOOD).replace("7.5", "1" + "0" * 400).encode(),
    "negative": json.dumps(GOOD).replace("7.5", "-1").encode(),
    "NaN": json.dumps(GOOD).replace("7.5", "NaN").encode(),
    "true": json.dumps(GOOD).replace("7.5", "true").encode(),
    "a text": json.dumps(GOOD).replace("7.5", '"7.5"').encode(),
    "fractions of requests": json.dumps({**GOOD, "queued": 0.5}).encode(),
    "a missing figure": b'{"tokens_per_second": 1}',
    "30,000 nested lists": b"[" * 30_000 + b"]" * 30_000,
    "nested where nobody looks": b'{"x":' + b"[" * 30_000 + b"]" * 30_000 + b"}",
    "not UTF-8": b'{"tokens_per_second": 1, "demand_tokens_per_second": 2, "x": "\xff"}',
    "UTF-16": json.dumps(GOOD).encode("utf-16"),
}


@pytest.mark.parametrize("body", NOT_A_LOAD.values(), ids=NOT_A_LOAD.keys())
async def test_a_body_that_is_not_a_load_is_unknown(body: bytes) -> None:
    async with pod_that_answers(whole(body)) as port:
        with pytest.raises(BadInput):
            await read_load("127.0.0.1", port)


UNREADABLE: dict[str, Answer] = {
    "a body without an end": endless(OK + b"\r\n", b"x" * 65536),
    "a head without an end": endless(OK, b"X-More: 1\r\n" * 1000),
    "informational answers without an end": endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
    "100,000 nested lists": whole(b"[" * 100_000),
    "an inflated body": whole(gzip.compress(b" " * 50_000_000), b"Content-Encoding: gzip"),
    "brotli": whole(b"x", b"Content-Encoding: br"),
    "chunks without an end": endless(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 1000),
    "a length that is not one": lambda w: send(w, OK + b"Content-Length: 9999999999999\r\n\r\n{}"),
    "two lengths": whole(b"{}", b"Content-Length: 5"),
    "HTTP/0.9": lambda w: send(w, json.dumps(GOOD).encode()),
    "nothing": lambda w: send(w, b""),
    "silence": silent,
    "a slow drip": drip,
}


@pytest.mark.parametrize("answer", UNREADABLE.values(), ids=UNREADABLE.keys())
async def test_an_answer_of_any_kind_is_unknown_within_the_time_and_memory_of_one(answer: Answer) -> None:
    async with pod_that_answers(answer) as port:
        tracemalloc.start()
        try:
            with pytest.raises((BadInput, OSError, TimeoutError)):
                async with asyncio.timeout(30):
                    await read_load("127.0.0.1", port)
            assert tracemalloc.get_traced_memory()[1] < MEMORY_LIMIT_BYTES
        finally:
            tracemalloc.stop()


async def test_a_redirect_is_not_followed() -> None:
    asked = 0

    async def elsewhere(writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        await whole(json.dumps(GOOD).encode())(writer)

    async with pod_that_answers(elsewhere) as target:
        moved = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:%d/load\r\nContent-Length: 0\r\n\r\n" % target
        async with pod_that_answers(lambda writer: send(writer, moved)) as port:
            with pytest.raises(BadInput, match="status 302"):
                await read_load("127.0.0.1", port)
    assert asked == 0


async def test_a_charset_is_not_obeyed() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=rot13\r\n\r\n"
    async with pod_that_answers(lambda writer: send(writer, head + json.dumps(GOOD).encode())) as port:
        assert (await read_load("127.0.0.1", port)).demand_tokens_per_second == 7.5


async def test_a_good_answer_is_a_load_whatever_follows_it() -> None:
    body = json.dumps(GOOD).encode()
    head = OK + b"Content-Length: %d\r\n\r\n" % len(body)
    async with pod_that_answers(endless(head + body, b"HTTP/1.1 200 OK\r\n\r\n" * 1000)) as port:
        assert (await read_load("127.0.0.1", port)).capacity_tokens_per_second == 100.0


@given(st.binary(max_size=400))
def test_any_bytes_are_an_answer_or_one_error(received: bytes) -> None:
    assert 0 <= missing_bytes(received) <= ANSWER_LIMIT_BYTES
    with suppress(BadInput):
        assert isinstance(body_of(received), bytes)


@given(
    st.sampled_from([b"HTTP/1.1 200 OK", b"HTTP/1.0 200", b"HTTP/1.1 503 No", b"HTTP/1.1 2000 OK", b"http/1.1 200 OK"]),
    st.lists(
        st.tuples(
            st.sampled_from([b"Content-Length", b"content-length ", b"Transfer-Encoding", b"Content-Encoding", b"X"]),
            st.sampled_from([b"5", b" 5", b"+5", b"5_0", b"99999999999999999999", b"chunked", b"identity", b"gzip"])
            | st.binary(max_size=10).filter(lambda value: not {*b"\r\n"} & {*value}),  # a line's end would end the head
        ),
        max_size=4,
    ),
    st.binary(max_size=100),
)
def test_any_head_is_an_answer_or_one_error(status: bytes, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    lines = [status, *(name + b":" + value for name, value in headers)]
    received = b"\r\n".join(lines) + b"\r\n\r\n" + body
    assert 0 <= missing_bytes(received) <= ANSWER_LIMIT_BYTES
    with suppress(BadInput):
        assert body_of(received) == body[: len(body_of(received))]


JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from([*GOOD, "queued", "running", "capacity_source", "backlog_tokens"]), JSON) | JSON)
def test_any_json_is_a_finite_load_or_one_error(value: Any) -> None:
    try:
        load = parse_load(json.dumps(value).encode())
    except BadInput:
        return
    assert isinstance(load, Load)
    assert 0 <= load.demand_tokens_per_second <= 1e15 and 0 <= load.tokens_per_second <= 1e15
    assert load.capacity_tokens_per_second is None or 0.1 <= load.capacity_tokens_per_second <= 1e15


def made_by(kind: str, name: str, revision: str = "5d4f") -> dict[str, Any]:
    return {"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": "u", "controller": True}


@pytest.mark.parametrize(
    "owners",
    [
        [],
        [{**made_by("ReplicaSet", "tiny-5d4f"), "controller": False}],
        [made_by("ReplicaSet", "other-5d4f")],
        [made_by("ReplicaSet", "tiny-ffff")],
        [made_by("Job", "tiny-5d4f")],
        [{**made_by("ReplicaSet", "tiny-5d4f"), "apiVersion": "example.com/v1"}],
    ],
)
async def test_a_pod_that_our_replica_set_did_not_make_is_never_asked(owners: list[dict[str, Any]]) -> None:
    asked: list[str] = []

    async def read(ip: str, _: int) -> Load:
        asked.append(ip)
        return parse_load(json.dumps(GOOD).encode())

    def pod(name: str, owners: list[dict[str, Any]]) -> dict[str, Any]:
        labels = {"pagoda.dev/model-deployment": "tiny", "pod-template-hash": "5d4f"}
        meta = {"namespace": "ns", "name": name, "uid": name, "resourceVersion": "1", "labels": labels}
        status = {"podIP": name, "conditions": [{"type": "Ready", "status": "True"}]}
        return {"kind": "Pod", "metadata": {**meta, "ownerReferences": owners}, "status": status}

    store = Store()
    store.put({"kind": "ModelDeployment", "metadata": {"namespace": "ns", "name": "tiny", "resourceVersion": "1"}})
    store.put(pod("ours", [made_by("ReplicaSet", "tiny-5d4f")]))
    store.put(pod("theirs", owners))
    tasks = Tasks()
    reader = LoadReader(
        port=1,
        clock=lambda: 0.0,
        jitter=lambda: 0.0,
        tasks=tasks,
        models=lambda: [(key, store.pods(key)) for key in store.model_keys()],
        on_news=lambda _: None,
        read=read,
    )
    reader.step()
    await asyncio.sleep(0)
    await tasks.stop()
    assert asked == ["ours"]
    assert [found["metadata"]["name"] for found in store.children(("ns", "tiny"))] == ["ours"]
