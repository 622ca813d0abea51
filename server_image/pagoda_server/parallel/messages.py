"""What the leading rank tells its followers: how to begin, and then each step, with only what is new.

`Outline` is the leader's memory of what it told; `Mirror` the follower's of what it was told. Between them a request is
known by its device row. A chunk's tokens and pages grow at the end only, so it carries those since the last.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from pagoda_server.engine.config import EngineConfig
from pagoda_server.engine.request import Request
from pagoda_server.engine.scheduler import Chunk
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


class Opening(msgspec.Struct, frozen=True, array_like=True):
    """A row's request from now on."""

    num_prompt_tokens: int
    sampling: Sampling
    seed: int
    stop_token_ids: list[int]


class Part(msgspec.Struct, frozen=True, array_like=True):
    """One chunk."""

    row: int
    start: int
    num_tokens: int
    samples: bool
    num_in_flight: int
    token_ids: list[int]
    """New ones: all, when the row opens."""
    page_ids: list[int]
    """As `token_ids`."""
    opening: Opening | None = None


class Step(msgspec.Struct, frozen=True, array_like=True):
    """A launch; without any part, a call of `prepare_next`."""

    parts: list[Part]
    idle: bool = True
    """Of `prepare_next`."""


@dataclass(slots=True)
class Told:
    """Of one row."""

    request: Request | None = None
    num_admissions: int = 0
    num_tokens: int = 0
    num_pages: int = 0


class Outline:
    def __init__(self, num_rows: int) -> None:
        self._rows = [Told() for _ in range(num_rows)]

    def describe(self, chunks: Sequence[Chunk]) -> Step:
        """Marks what it describes as told."""
        return Step([self._describe(chunk) for chunk in chunks])

    def _describe(self, chunk: Chunk) -> Part:
        request, told, opening = chunk.request, self._rows[chunk.request.row], None
        if told.request is not request or told.num_admissions != request.num_admissions:
            told = self._rows[request.row] = Told(request, request.num_admissions)
            opening = build_opening(request)
        token_ids, page_ids = request.token_ids[told.num_tokens :], request.page_ids[told.num_pages :]
        told.num_tokens += len(token_ids)
        told.num_pages += len(page_ids)
        return Part(
            request.row,
            chunk.start,
            chunk.num_tokens,
            chunk.samples,
            request.num_in_flight,
            token_ids,
            page_ids,
            opening,
        )


def build_opening(request: Request) -> Opening:
    """Without log-probabilities: the leader alone gives them out."""
    return Opening(
        request.num_prompt_tokens,
        msgspec.structs.replace(request.sampling, logprobs=None),
        request.seed,
        sorted(request.stop_token_ids),
    )


class Mirror:
    """The requests of a follower's rows. They are never committed: what the leader commits comes with later chunks."""

    def __init__(self) -> None:
        self._rows: dict[int, Request] = {}

    def follow(self, step: Step) -> list[Chunk]:
        return [self._follow(part) for part in step.parts]

    def _follow(self, part: Part) -> Chunk:
        if part.opening is not None:
            self._rows[part.row] = _open(part.opening, part.row)
        request = self._rows[part.row]
        request.token_ids += part.token_ids
        request.page_ids += part.page_ids
        request.num_in_flight = part.num_in_flight
        return Chunk(request, part.start, part.num_tokens, samples=part.samples)


def _open(opening: Opening, row: int) -> Request:
    return Request(
        request_id=f"row-{row}",
        token_ids=[],
        num_prompt_tokens=opening.num_prompt_tokens,
        sampling=opening.sampling,
        seed=opening.seed,
        stop_token_ids=frozenset(opening.stop_token_ids),
        row=row,
    )
