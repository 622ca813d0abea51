"""What the HTTP front and the engine say to each other.

Frames are a 4-byte big-endian length and a msgpack body. The union is tagged, so a reader matches on one type. What is
sent once a token (`Delta`) is an array without names: at 26,000 tokens a second both ends feel each field.
Nothing here may import torch or aiohttp: both processes load it.
"""

import asyncio
from typing import Literal

import msgspec

FinishReason = Literal["stop", "length", "abort", "error"]
"""abort: by who asked for it; error: by the engine, which can say nothing more about it."""
CapacitySource = Literal["measured", "observed"]
"""Measured in a few steps at start, or observed while serving."""


class Sampling(msgspec.Struct, frozen=True, omit_defaults=True):
    """How to choose each token. `temperature` 0 is greedy; `seed` makes a request reproducible whatever the batch."""

    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int | None = None
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    logprobs: int | None = None
    """None: none. 0: the chosen token's alone. N: also the N most likely."""
    stop_token_ids: tuple[int, ...] = ()
    ignore_eos: bool = False
    min_tokens: int = 0


class Submit(msgspec.Struct, frozen=True, tag="submit"):
    request_id: str
    prompt_token_ids: list[int]
    sampling: Sampling
    cache_salt: str = ""
    """Prefixes are shared only between requests of one salt (the tenant)."""
    is_streamed: bool = True
    """Each token is passed on as it comes, so someone feels the gaps between them."""


class Abort(msgspec.Struct, frozen=True, tag="abort"):
    request_id: str


class TokenLogprobs(msgspec.Struct, frozen=True):
    chosen: float
    top: list[tuple[int, float]]


class Delta(msgspec.Struct, frozen=True, array_like=True):
    """New tokens of one request, in order. The last delta carries `finish_reason`; a stop token is among the tokens."""

    request_id: str
    token_ids: list[int]
    logprobs: list[TokenLogprobs] | None = None
    finish_reason: FinishReason | None = None
    cached_tokens: int = 0


class Deltas(msgspec.Struct, frozen=True, tag="deltas"):
    """What a step gave all requests of one connection: a frame a step, not one a token."""

    deltas: list[Delta]


class Rejected(msgspec.Struct, frozen=True, tag="rejected"):
    """The engine cannot ever run this request (it names the field, the value and the fix)."""

    request_id: str
    message: str
    param: str | None = None


class Stats(msgspec.Struct, frozen=True, tag="stats"):
    """Sent about twice a second and once at start, when `ready` turns true."""

    ready: bool
    running: int
    waiting: int
    backlog_tokens: int
    tokens_per_second: float
    capacity_tokens_per_second: float | None
    capacity_source: CapacitySource | None
    free_pages: int
    cached_pages: int
    total_pages: int
    preemptions: int
    prompt_tokens: int
    cached_prompt_tokens: int
    generation_tokens: int
    steps: int


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """The engine's first message: the limits the front checks requests against."""

    max_model_len: int
    max_num_seqs: int
    vocab_size: int
    eos_token_ids: list[int]
    device: str
    dtype: str
    start_seconds: dict[str, float] = {}
    """What the engine's start took, by phase; `total` from the process's start on."""


ToEngine = Submit | Abort
FromEngine = Hello | Deltas | Rejected | Stats

MAX_FRAME_BYTES = 64 * 1024 * 1024
_encoder = msgspec.msgpack.Encoder()


def frame(body: bytes) -> bytes:
    """A 4-byte big-endian length, then the body."""
    return len(body).to_bytes(4, "big") + body


async def read_frame(reader: asyncio.StreamReader) -> bytes:
    """The next body. Raises ValueError for one over the limit, IncompleteReadError at the end of the stream."""
    length = int.from_bytes(await reader.readexactly(4), "big")
    if length > MAX_FRAME_BYTES:
        raise ValueError(f"a frame of {length} bytes; at most {MAX_FRAME_BYTES} are read")
    return await reader.readexactly(length)


def encode_frame(message: ToEngine | FromEngine) -> bytes:
    return frame(_encoder.encode(message))


def decode_to_engine(body: bytes) -> ToEngine:
    message: ToEngine = msgspec.msgpack.decode(body, type=ToEngine)
    return message


def decode_from_engine(body: bytes) -> FromEngine:
    message: FromEngine = msgspec.msgpack.decode(body, type=FromEngine)
    return message
