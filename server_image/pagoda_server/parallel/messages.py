"""What the leading rank tells its followers: how to begin, and then each step, with only what is new.

`StepEncoder` remembers what the leader sent; `StepDecoder` what the follower received. Between them a request is known
by its device row. A chunk's tokens and pages grow at the end only, so it carries those since the last.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from pagoda_server.engine.batch import Chunk
from pagoda_server.engine.config import EngineConfig
from pagoda_server.engine.request import Request
from pagoda_server.wire import Sampling


class Join(msgspec.Struct, frozen=True):
    """First, to the follower."""

    config: EngineConfig
    rank: int
    store: Path
    """A file through which the ranks find each other."""


class Loaded(msgspec.Struct, frozen=True):
    """From the follower: `num_pages` fit beside its part of the model; or what went wrong."""

    num_pages: int = 0
    error: str | None = None


class Begin(msgspec.Struct, frozen=True):
    """To the follower: build a runner of this size; steps come next."""

    num_pages: int
    max_model_len: int


class NewRequest(msgspec.Struct, frozen=True, array_like=True):
    """A row's request from now on."""

    num_prompt_tokens: int
    sampling: Sampling
    seed: int
    stop_token_ids: list[int]
    is_constrained: bool = False


class ChunkMessage(msgspec.Struct, frozen=True, array_like=True):
    """One chunk."""

    row: int
    start: int
    num_tokens: int
    is_sampled: bool
    num_in_flight: int
    token_ids: list[int]
    """New ones: all, when the row opens."""
    page_ids: list[int]
    """As `token_ids`."""
    new_request: NewRequest | None = None


class Step(msgspec.Struct, frozen=True, array_like=True):
    """A launch; the masks of the one before it; or, without either, a call of `prepare_next`."""

    chunks: list[ChunkMessage]
    idle: bool = True
    """The argument of `prepare_next`."""
    masks: bytes | None = None
    """The int32 of `engine.constraint.Masks`, a row after another."""


@dataclass(slots=True)
class SentRow:
    """What was sent of one row's request."""

    request: Request | None = None
    num_admissions: int = 0
    num_tokens: int = 0
    num_pages: int = 0


class StepEncoder:
    def __init__(self, num_rows: int) -> None:
        self._rows = [SentRow() for _ in range(num_rows)]

    def encode(self, chunks: Sequence[Chunk]) -> Step:
        """Returns the message for a launch of `chunks`, and remembers it as sent."""
        return Step([self._encode(chunk) for chunk in chunks])

    def _encode(self, chunk: Chunk) -> ChunkMessage:
        request, sent, new_request = chunk.request, self._rows[chunk.request.row], None
        if sent.request is not request or sent.num_admissions != request.num_admissions:
            sent = self._rows[request.row] = SentRow(request, request.num_admissions)
            new_request = build_new_request(request)
        token_ids, page_ids = request.token_ids[sent.num_tokens :], request.page_ids[sent.num_pages :]
        sent.num_tokens += len(token_ids)
        sent.num_pages += len(page_ids)
        return ChunkMessage(
            request.row,
            chunk.start,
            chunk.num_tokens,
            chunk.is_sampled,
            request.num_in_flight,
            token_ids,
            page_ids,
            new_request,
        )


def build_new_request(request: Request) -> NewRequest:
    """Builds it without log-probabilities: the leader alone gives them out."""
    return NewRequest(
        request.num_prompt_tokens,
        msgspec.structs.replace(request.sampling, logprobs=None),
        request.seed,
        sorted(request.stop_token_ids),
        request.is_constrained,
    )


class StepDecoder:
    """The requests of a follower's rows. They are never committed: what the leader commits comes with later chunks."""

    def __init__(self) -> None:
        self._rows: dict[int, Request] = {}

    def decode(self, step: Step) -> list[Chunk]:
        return [self._decode(message) for message in step.chunks]

    def _decode(self, message: ChunkMessage) -> Chunk:
        if message.new_request is not None:
            self._rows[message.row] = _open(message.new_request, message.row)
        request = self._rows[message.row]
        request.token_ids += message.token_ids
        request.page_ids += message.page_ids
        request.num_in_flight = message.num_in_flight
        return Chunk(request, message.start, message.num_tokens, is_sampled=message.is_sampled)


def _open(new_request: NewRequest, row: int) -> Request:
    return Request(
        request_id=f"row-{row}",
        token_ids=[],
        num_prompt_tokens=new_request.num_prompt_tokens,
        sampling=new_request.sampling,
        seed=new_request.seed,
        stop_token_ids=frozenset(new_request.stop_token_ids),
        is_constrained=new_request.is_constrained,
        row=row,
    )
