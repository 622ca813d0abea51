"""What the HTTP front and the engine say to each other.

Frames are a 4-byte big-endian length and a msgpack body. The union is tagged, so a reader matches on one type. What is
sent once per token (`Delta`) is an array without names: at 26,000 tokens per second both ends feel each field.
What a client can make long is bounded here, what it can make wrong is refused by `engine/admission.py`.
Nothing here may import torch or aiohttp: both processes load it.
"""

import asyncio
from array import array
from typing import Annotated, Literal, TypeVar

import msgspec

FinishReason = Literal["stop", "length", "abort", "error"]
"""abort: by who asked for it; error: by the engine, which can say nothing more about it."""
CapacitySource = Literal["measured", "observed"]
"""Measured in a few steps at start, or observed while serving."""
RejectionReason = Literal["invalid", "overdue", "unfinished"]
"""invalid: this engine can never run it. overdue: it never had its turn within the time that a request may wait.
unfinished: it ran, and what it asks for left no way to go on before the answer was whole."""
GrammarNotation = Literal["llguidance", "regex"]
"""llguidance: its own, a list of grammars as JSON, or Lark. regex: one expression that the whole answer matches."""

MAX_FRAME_BYTES = 64 * 1024 * 1024
MAX_PROMPT_TOKENS = 4 * 1024 * 1024
MAX_STOP_TOKENS = 1024
MAX_NAME_CHARACTERS = 512
"""The maximum for the ids of requests and groups, and for tenants."""
MAX_LOGPROBS = 20
MAX_BIASES = 1024
"""The maximum number of tokens in `logit_bias`."""
MAX_BIAS = 100.0
MAX_ALLOWED_TOKENS = 16_384
MAX_BAD_WORDS = 1024
MAX_BAD_WORD_TOKENS = 4096
"""The maximum for one of `bad_words`, and for all of a request together."""
NUMBER_BYTES = 4
"""Of an int32, and of a float32."""
MAX_GRAMMAR_CHARACTERS = 256 * 1024
GREEDY_TEMPERATURE = 1e-5
"""Below it a temperature means the likeliest token: no draw differs from it, and logits over it would overflow."""

Name = Annotated[str, msgspec.Meta(max_length=MAX_NAME_CHARACTERS)]
BadWord = Annotated[tuple[int, ...], msgspec.Meta(max_length=MAX_BAD_WORD_TOKENS)]
T = TypeVar("T")


class Sampling(msgspec.Struct, frozen=True, omit_defaults=True):
    """How to choose each token. `temperature` near 0 is greedy; `seed` makes a request reproducible whatever the batch.

    Any number may be on the wire; the engine refuses by name what is out of range.
    """

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
    """None: none. 0: the chosen token's alone. N: also the N most likely, the likeliest first."""
    stop_token_ids: Annotated[tuple[int, ...], msgspec.Meta(max_length=MAX_STOP_TOKENS)] = ()
    ignore_eos: bool = False
    min_tokens: int = 0
    logit_bias: Annotated[tuple[tuple[int, float], ...], msgspec.Meta(max_length=MAX_BIASES)] = ()
    """Tokens, each at most once, and what is added to their logits."""
    allowed_token_ids: Annotated[tuple[int, ...], msgspec.Meta(max_length=MAX_ALLOWED_TOKENS)] | None = None
    """No other token is chosen, stop tokens neither. None: any is."""
    bad_words: Annotated[tuple[BadWord, ...], msgspec.Meta(max_length=MAX_BAD_WORDS)] = ()
    """Sequences that the answer never holds: the last token of one is not chosen after the others."""
    prompt_logprobs: int | None = None
    """As `logprobs`, of the prompt's tokens after the first. With it `max_tokens` may be 0: no answer is wanted."""


class Grammar(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an answer may say. Equal texts are compiled once."""

    text: Annotated[str, msgspec.Meta(max_length=MAX_GRAMMAR_CHARACTERS)]
    notation: GrammarNotation = "llguidance"
    param: Name = ""
    """The field of the request that asks for it: a refusal names it."""


class Submit(msgspec.Struct, frozen=True, tag="submit"):
    request_id: Name
    prompt_token_ids: Annotated[list[int], msgspec.Meta(max_length=MAX_PROMPT_TOKENS)]
    sampling: Sampling
    cache_salt: Name = ""
    """The tenant: prefixes are shared only between requests of one salt, and the engine takes turns between salts."""
    prefix_salt: Name = ""
    """The client's own: within its tenant, prefixes are shared only where it is the same."""
    is_streamed: bool = True
    """Each token is passed on as it comes, so someone feels the gaps between them."""
    group: Name = ""
    """The same for all sequences of one HTTP request: a tenant's groups take turns. Empty: a group of its own."""
    is_traced: bool = False
    """Its `Timing` is wanted."""
    grammar: Grammar | None = None


class Judge(msgspec.Struct, frozen=True, tag="judge"):
    """Asks whether a grammar would be compiled; `Judged` answers."""

    request_id: Name
    grammar: Grammar


class Abort(msgspec.Struct, frozen=True, tag="abort"):
    request_id: Name


class TokenLogprobs(msgspec.Struct, frozen=True):
    chosen: float
    top: list[tuple[int, float]]


class PromptLogprobs(msgspec.Struct, frozen=True, array_like=True):
    """Log-probabilities of a part of a prompt, as arrays of this machine's numbers: nobody looks at each on the way.

    Parts come in order and together hold every token of the prompt but the first, each once.
    """

    start: int
    """The position of the part's first token in the prompt."""
    chosen: bytes
    """[n] float32: that of each token, given those before it."""
    top_ids: bytes
    """[n, N] int32: the N likeliest tokens there, the likeliest first."""
    top: bytes
    """[n, N] float32"""

    @property
    def end(self) -> int:
        """Returns the position after the part's last token."""
        return self.start + len(self.chosen) // NUMBER_BYTES

    def after(self, start: int) -> "PromptLogprobs":
        """Returns what of it is from position `start` on, which is no earlier than its own start."""
        passed, total = start - self.start, max(1, self.end - self.start)
        first = passed * (len(self.top) // total)
        return PromptLogprobs(start, self.chosen[passed * NUMBER_BYTES :], self.top_ids[first:], self.top[first:])

    def unpack(self) -> list[TokenLogprobs]:
        """Returns one for each token."""
        chosen, ids, values = array("f", self.chosen), array("i", self.top_ids), array("f", self.top)
        count = len(ids) // max(1, len(chosen))
        spans = (slice(index * count, (index + 1) * count) for index in range(len(chosen)))
        return [
            TokenLogprobs(own, list(zip(ids[span], values[span], strict=True)))
            for own, span in zip(chosen, spans, strict=True)
        ]


class Delta(msgspec.Struct, frozen=True, array_like=True):
    """New tokens of one request, in order. The last delta carries `finish_reason`; a stop token is among the tokens."""

    request_id: str
    token_ids: list[int]
    logprobs: list[TokenLogprobs] | None = None
    finish_reason: FinishReason | None = None
    cached_tokens: int = 0
    prompt_logprobs: list[PromptLogprobs] | None = None


class Deltas(msgspec.Struct, frozen=True, tag="deltas"):
    """What a step gave all requests of one connection: one frame per step, not one per token."""

    deltas: list[Delta]


class Timing(msgspec.Struct, frozen=True, tag="timing", omit_defaults=True):
    """When the engine did what for a request that is traced, in seconds of the machine's monotonic clock.

    It comes with the first token and again with the last, ahead of that delta; each tells all that is known.
    """

    request_id: str
    queued_at: float
    started_at: float | None = None
    """It was first taken from the queue."""
    first_token_at: float | None = None
    finished_at: float | None = None
    prefill_steps: int = 0
    """The engine's steps until the first token, and from then on: of whatever requests."""
    decode_steps: int = 0
    preempted_at: list[float] = []


class Rejected(msgspec.Struct, frozen=True, tag="rejected"):
    """The request is not run, and `message` says why: of an invalid one the field, the value and the fix."""

    request_id: str
    message: str
    param: str | None = None
    reason: RejectionReason = "invalid"


class Judged(msgspec.Struct, frozen=True, tag="judged"):
    request_id: str
    rejected: Rejected | None = None


class Distribution(msgspec.Struct, frozen=True, array_like=True):
    """What a histogram of the engine has counted (`histograms.py`)."""

    counts: list[int]
    """For each bucket, and one for what is above them all; not summed up."""
    total: float
    """The sum of all values."""


class Stats(msgspec.Struct, frozen=True, tag="stats"):
    """Sent about twice per second and once at start, when `ready` turns true."""

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
    distributions: dict[str, Distribution] = {}
    recomputed_prompt_tokens: int = 0
    """Of those in the prefix cache: a prompt that is there as a whole is computed from its last page on."""
    corrupted_requests: int = 0
    """Ended because their logits were not finite."""


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
    started_at_seconds: float = 0.0
    """When the engine's process started, in seconds since 1970."""
    page_size: int = 0
    kv_cache_dtype: str = ""
    prefix_caching: bool = True


ToEngine = Submit | Judge | Abort
FromEngine = Hello | Deltas | Rejected | Judged | Stats | Timing

_encoder = msgspec.msgpack.Encoder()


class BadFrame(ValueError):
    """What came is too long, or no message of the union that was to come."""


def frame(body: bytes) -> bytes:
    """Returns a 4-byte big-endian length, then the body."""
    return len(body).to_bytes(4, "big") + body


async def read_frame(reader: asyncio.StreamReader) -> bytes:
    """Returns the next body, for which memory is taken as it comes.

    Raises `BadFrame` for one over the limit, IncompleteReadError at the end of the stream.
    """
    length = int.from_bytes(await reader.readexactly(4), "big")
    if length > MAX_FRAME_BYTES:
        raise BadFrame(f"a frame of {length} bytes; at most {MAX_FRAME_BYTES} are read")
    return await reader.readexactly(length)


def encode_frame(message: ToEngine | FromEngine) -> bytes:
    return frame(_encoder.encode(message))


def decode_to_engine(body: bytes) -> ToEngine:
    """Returns the message that a front sent. Raises `BadFrame`."""
    return _decode(_to_engine, body)


def decode_from_engine(body: bytes) -> FromEngine:
    """Returns the message that the engine sent. Raises `BadFrame`."""
    return _decode(_from_engine, body)


_to_engine: "msgspec.msgpack.Decoder[ToEngine]" = msgspec.msgpack.Decoder(ToEngine)
_from_engine: "msgspec.msgpack.Decoder[FromEngine]" = msgspec.msgpack.Decoder(FromEngine)


def _decode(decoder: "msgspec.msgpack.Decoder[T]", body: bytes) -> T:
    try:
        return decoder.decode(body)
    except RecursionError as error:
        raise BadFrame("nested too deep") from error
    except (msgspec.MsgspecError, ValueError, OverflowError, MemoryError) as error:
        raise BadFrame(str(error)) from error
