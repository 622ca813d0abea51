"""Any bytes at the engine's socket: a message, or one error; and what a message asks for is run or refused by name."""

import asyncio
import contextlib
import tracemalloc
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pagoda_server.engine.batch import Chunk, Limits
from pagoda_server.engine.engine import Engine
from pagoda_server.engine.pages import PagePool
from pagoda_server.runtime.gpu.adjustments import pack_entry
from pagoda_server.runtime.gpu.device_state import pack_sampling
from pagoda_server.wire import (
    MAX_ALLOWED_TOKENS,
    MAX_BAD_WORD_TOKENS,
    MAX_BAD_WORDS,
    MAX_BIASES,
    MAX_FRAME_BYTES,
    MAX_NAME_CHARACTERS,
    MAX_PROMPT_TOKENS,
    MAX_STOP_TOKENS,
    Abort,
    BadFrame,
    Delta,
    Deltas,
    FromEngine,
    Hello,
    Rejected,
    Sampling,
    Stats,
    Submit,
    ToEngine,
    decode_from_engine,
    decode_to_engine,
    encode_frame,
    frame,
    read_frame,
)
from tests.doubles.runners import ConstantRunner

encode = msgspec.msgpack.encode
integers = st.integers(-(2**63), 2**64 - 1)
numbers = integers | st.floats()
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
)
tags = st.sampled_from(["submit", "abort", "hello", "deltas", "rejected", "stats", "other"])
messages = st.builds(lambda tag, rest: {**rest, "type": tag}, tags, st.dictionaries(st.text(max_size=12), values))
LONG_ARRAY = b"\xdd\xff\xff\xff\xff"
LONG_TEXT = b"\xdb\xff\xff\xff\xff"


def submit_with(field: bytes) -> bytes:
    return b"\x82\xa4type\xa6submit" + field


@given(st.binary(max_size=512) | (values | messages).map(encode))
@example(submit_with(b"\xb0prompt_token_ids" + LONG_ARRAY))
@example(submit_with(b"\xaarequest_id" + LONG_TEXT))
@example(submit_with(b"\xa5other" + b"\x91" * 100_000))
@example(submit_with(b"\xa5other" + b"\x81\xa1a" * 100_000))
@example(submit_with(b"\xaarequest_id\xa2\xff\xfe"))
@example(b"\x82\xa4type\xa6deltas\xa6deltas" + LONG_ARRAY)
def test_any_bytes_are_a_message_or_one_error(body: bytes) -> None:
    for decode, kinds in (
        (decode_to_engine, (Submit, Abort)),
        (decode_from_engine, (Hello, Deltas, Rejected, Stats)),
    ):
        try:
            message: ToEngine | FromEngine = decode(body)
        except BadFrame:
            continue
        assert isinstance(message, kinds)


@pytest.mark.parametrize(
    "message",
    [
        Submit("a", [1] * (MAX_PROMPT_TOKENS + 1), Sampling(max_tokens=1)),
        Submit("a" * (MAX_NAME_CHARACTERS + 1), [1], Sampling(max_tokens=1)),
        Submit("a", [1], Sampling(max_tokens=1), cache_salt="a" * (MAX_NAME_CHARACTERS + 1)),
        Submit("a", [1], Sampling(max_tokens=1), group="a" * (MAX_NAME_CHARACTERS + 1)),
        Submit("a", [1], Sampling(max_tokens=1, stop_token_ids=(1,) * (MAX_STOP_TOKENS + 1))),
        Submit("a", [1], Sampling(max_tokens=1, logit_bias=((1, 1.0),) * (MAX_BIASES + 1))),
        Submit("a", [1], Sampling(max_tokens=1, allowed_token_ids=(1,) * (MAX_ALLOWED_TOKENS + 1))),
        Submit("a", [1], Sampling(max_tokens=1, bad_words=((1,),) * (MAX_BAD_WORDS + 1))),
        Submit("a", [1], Sampling(max_tokens=1, bad_words=((1,) * (MAX_BAD_WORD_TOKENS + 1),))),
        Abort("a" * (MAX_NAME_CHARACTERS + 1)),
    ],
    ids=["prompt", "id", "tenant", "group", "stops", "biases", "allowed", "bad-words", "bad-word", "abort"],
)
def test_what_a_client_can_make_long_has_a_bound(message: ToEngine) -> None:
    with pytest.raises(BadFrame, match="length <="):
        decode_to_engine(encode_frame(message)[4:])


async def read(raw: bytes) -> bytes:
    reader = asyncio.StreamReader()
    reader.feed_data(raw)
    reader.feed_eof()
    return await read_frame(reader)


@given(st.binary(max_size=64), st.binary(max_size=16))
def test_a_frame_is_read_whole_or_ends_in_one_of_two_errors(body: bytes, rest: bytes) -> None:
    assert asyncio.run(read(frame(body) + rest)) == body
    for raw in (frame(body)[:-1], rest):
        with contextlib.suppress(BadFrame, asyncio.IncompleteReadError):
            assert asyncio.run(read(raw)) is not None


def test_the_length_of_a_frame_is_bounded_and_takes_no_memory_by_itself() -> None:
    with pytest.raises(BadFrame):
        asyncio.run(read((MAX_FRAME_BYTES + 1).to_bytes(4, "big")))
    tracemalloc.start()
    with pytest.raises(asyncio.IncompleteReadError):
        asyncio.run(read(MAX_FRAME_BYTES.to_bytes(4, "big") + b"short"))
    assert tracemalloc.get_traced_memory()[1] < MAX_FRAME_BYTES // 8
    tracemalloc.stop()


def place(chunks: Sequence[Chunk]) -> None:
    """What the device is told of each request."""
    for chunk in chunks:
        pack_sampling(chunk.request)
        pack_entry(chunk.request, 100)


def build_engine() -> Engine:
    return Engine(ConstantRunner(run_ahead=0, look=place), Limits(64, 4, 64, vocab_size=100), PagePool(16, 4))


tokens = integers | st.integers(0, 99)
samplings = st.builds(
    Sampling,
    max_tokens=integers | st.integers(1, 9),
    temperature=st.floats(),
    top_p=st.floats() | st.just(1.0),
    min_p=st.floats() | st.just(0.0),
    top_k=integers | st.just(0),
    seed=st.none() | integers,
    presence_penalty=st.floats() | st.just(0.0),
    frequency_penalty=st.floats() | st.just(0.0),
    repetition_penalty=st.floats() | st.just(1.0),
    logprobs=st.none() | integers,
    stop_token_ids=st.lists(integers, max_size=3).map(tuple),
    min_tokens=integers | st.just(0),
    logit_bias=st.lists(st.tuples(tokens, st.floats()), max_size=3).map(tuple),
    allowed_token_ids=st.none() | st.lists(tokens, max_size=3).map(tuple),
    bad_words=st.lists(st.lists(tokens, max_size=3).map(tuple), max_size=2).map(tuple),
    prompt_logprobs=st.none() | integers,
)


@given(samplings, st.lists(integers | st.integers(0, 99), max_size=9))
def test_any_numbers_are_run_to_an_end_or_refused_by_name(sampling: Sampling, prompt: list[int]) -> None:
    engine = build_engine()
    submit = decode_to_engine(encode_frame(Submit("a", prompt, sampling))[4:])
    assert isinstance(submit, Submit)
    rejected = engine.submit(submit)
    if rejected is not None:
        assert rejected.reason == "invalid" and rejected.param and rejected.param in rejected.message
        return
    deltas: list[Delta] = []
    while engine.has_work:
        deltas += engine.step()
    assert deltas[-1].finish_reason in ("length", "stop")


WRONG: dict[str, list[Any]] = {
    "temperature": [-1.0, 1e39, float("nan"), float("inf")],
    "top_p": [-0.1, 1.1, float("nan")],
    "min_p": [-0.1, 1.1, float("nan")],
    "top_k": [-2, 2**31],
    "seed": [2**63, 2**64 - 1],
    "presence_penalty": [float("nan"), float("-inf")],
    "frequency_penalty": [float("nan"), 1e30],
    "repetition_penalty": [0.0, -1.0, float("nan"), 1e-40],
    "logprobs": [-1, 100_000],
    "min_tokens": [-1, 6],
    "max_tokens": [0, -5, 2**63],
    "stop_token_ids": [(100,), (-1,), (2**40,)],
    "prompt_logprobs": [-1, 21],
    "logit_bias": [((100, 1.0),), ((-1, 1.0),), ((5, float("nan")),), ((5, 100.1),), ((7, 1.0), (7, 2.0))],
    "allowed_token_ids": [(100,), (-1,), ()],
    "bad_words": [((100,),), ((1, -1),), ((),), ((1,) * 4096, (1,))],
}


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, wrong in WRONG.items() for value in wrong])
def test_a_number_out_of_range_is_refused_with_field_and_value(field: str, value: Any) -> None:
    sampling = msgspec.structs.replace(Sampling(max_tokens=5), **{field: value})
    rejected = build_engine().submit(Submit("a", [1], sampling))
    assert rejected is not None and rejected.param == field and field in rejected.message
    assert isinstance(value, tuple) or str(value) in rejected.message


def test_a_long_prompt_is_refused_by_its_length_whatever_it_holds() -> None:
    rejected = build_engine().submit(Submit("a", [10**6] * 1_000_000, Sampling(max_tokens=1)))
    assert rejected is not None and rejected.param == "prompt" and "1000000 tokens" in rejected.message
