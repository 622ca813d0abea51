"""Runners without a model, for tests of what is around one: each is a `pagoda_server.engine.runner.Runner`."""

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial

from pagoda_server.engine.batch import Chunk
from pagoda_server.engine.constraint import Masks
from pagoda_server.engine.runner import NOTHING_ALLOWED, PendingStep, Runner, Sampled


def choose_always(token_id: int, chunks: Sequence[Chunk]) -> list[Sampled]:
    """Returns the same token for each of `chunks` that samples."""
    return [(token_id, None) for chunk in chunks if chunk.is_sampled]


class ConstantRunner:
    """Chooses one token always. `look` sees each step's chunks as they are launched."""

    def __init__(
        self, token_id: int = 1, *, run_ahead: int = 1, look: Callable[[Sequence[Chunk]], object] | None = None
    ) -> None:
        self._token_id, self._run_ahead, self._look = token_id, run_ahead, look

    def launch(self, chunks: Sequence[Chunk]) -> PendingStep:
        if self._look is not None:
            self._look(chunks)
        return PendingStep(lambda: choose_always(self._token_id, chunks), self._run_ahead)

    def prepare_next(self, *, idle: bool = True) -> bool:
        return False


class FailingRunner:
    """Chooses 5 always; the wait of one step raises. A request with a penalty must not be run ahead of."""

    def __init__(self, failing_step: int) -> None:
        self.steps, self.failing_step = 0, failing_step
        self.unknown_tokens = 0
        """Prompt tokens that the host was to give and does not know."""

    def launch(self, chunks: Sequence[Chunk]) -> PendingStep:
        self.steps += 1
        step = self.steps
        for chunk in chunks:
            if chunk.num_tokens > 1:
                self.unknown_tokens += max(0, chunk.end - len(chunk.request.token_ids))

        def wait() -> list[Sampled]:
            if step == self.failing_step:
                raise RuntimeError("the device stumbled")
            return choose_always(5, chunks)

        return PendingStep(wait, 0 if any(chunk.request.sampling.presence_penalty for chunk in chunks) else 1)

    def prepare_next(self, *, idle: bool = True) -> bool:
        return False


class PreparingRunner:
    """One step ahead, as a device is; `parts` of its preparation are left, and the last may fail."""

    def __init__(self, parts: int, *, fails: bool = False) -> None:
        self.parts, self.fails = parts, fails
        self.in_flight = 0
        self.idle: list[bool] = []
        self.prepared = threading.Event()

    def launch(self, chunks: Sequence[Chunk]) -> PendingStep:
        self.in_flight += 1

        def wait() -> list[Sampled]:
            self.in_flight -= 1
            return choose_always(1, chunks)

        return PendingStep(wait, run_ahead=1)

    def prepare_next(self, *, idle: bool = True) -> bool:
        assert self.in_flight == 0
        self.idle.append(idle)
        self.parts -= 1
        if self.parts > 0:
            return True
        self.prepared.set()
        if self.fails:
            raise RuntimeError("capture failed")
        return False


class PageCheckingRunner:
    """Tokens are a function of the sequence, and memory of what was written where: a page given to two owners shows.

    With `run_ahead` it knows tokens that the host does not know yet, as a device does. A step has at most
    `max_tokens` tokens, of at most `max_seqs` requests.
    """

    def __init__(self, run_ahead: int, page_size: int, max_tokens: int, max_seqs: int) -> None:
        self.run_ahead, self.page_size = run_ahead, page_size
        self.max_tokens, self.max_seqs = max_tokens, max_seqs
        self.slots: dict[tuple[int, int], int] = {}
        self.chosen: dict[int, tuple[int, int]] = {}
        """By row: the position and the token that was chosen last."""
        self.unknown = 0

    def launch(self, chunks: Sequence[Chunk]) -> PendingStep:
        assert sum(chunk.num_tokens for chunk in chunks) <= self.max_tokens and len(chunks) <= self.max_seqs
        assert len({chunk.request.row for chunk in chunks}) == len(chunks), "two requests in one row"
        self.unknown += 1
        assert self.unknown <= self.run_ahead + 1
        sampled: list[Sampled] = []
        for chunk in chunks:
            self._write(chunk)
            if chunk.is_sampled:
                sampled.append((self._choose(chunk), None))
        return PendingStep(lambda: self._tell(sampled), self.run_ahead)

    def prepare_next(self, *, idle: bool = True) -> bool:
        assert self.unknown == 0, "a step is in flight"
        return True

    def _tell(self, sampled: list[Sampled]) -> list[Sampled]:
        self.unknown -= 1
        return sampled

    def _write(self, chunk: Chunk) -> None:
        for position in range(chunk.start, chunk.end):
            self.slots[self._find_slot(chunk, position)] = self._token(chunk, position)

    def _find_slot(self, chunk: Chunk, position: int) -> tuple[int, int]:
        return chunk.request.page_ids[position // self.page_size], position % self.page_size

    def _token(self, chunk: Chunk, position: int) -> int:
        if position < len(chunk.request.token_ids):
            return chunk.request.token_ids[position]
        where, token_id = self.chosen[chunk.request.row]
        assert where == position, "the device was asked for a token that it does not know"
        return token_id

    def _choose(self, chunk: Chunk) -> int:
        stored = [self.slots[self._find_slot(chunk, position)] for position in range(chunk.end)]
        known = chunk.request.token_ids[: chunk.end]
        assert stored[: len(known)] == known, "another request wrote to this one's pages"
        self.chosen[chunk.request.row] = chunk.end, sum(stored) % 3
        return sum(stored) % 3


class GuardedRunner:
    """Another runner, each of whose launches and choices is within a context that `guard` opens."""

    def __init__(self, runner: Runner, guard: Callable[[], AbstractContextManager[object]]) -> None:
        self._runner, self._guard = runner, guard

    def launch(self, chunks: Sequence[Chunk]) -> PendingStep:
        with self._guard():
            pending = self._runner.launch(chunks)
        constrain = pending.constrain
        return pending if constrain is None else replace(pending, constrain=partial(self._constrain, constrain))

    def _constrain(self, constrain: Callable[[Masks], None], masks: Masks) -> None:
        with self._guard():
            constrain(masks)

    def prepare_next(self, *, idle: bool = True) -> bool:
        return self._runner.prepare_next(idle=idle)


class MaskedRunner:
    """Tokens are a function of the sequence and of what its mask allows. It knows tokens that the host does not yet.

    As a device does it computes steps in their order: a step is launched only when the one before it has chosen.
    """

    def __init__(self, vocab_size: int, run_ahead: int, *, failing_step: int | None = None) -> None:
        self._vocab_size, self._run_ahead, self._failing_step = vocab_size, run_ahead, failing_step
        self._chosen: dict[int, tuple[int, int]] = {}
        """By row: the position and the token that was chosen last."""
        self._step = 0
        self._is_open = False
        """The step that was launched last waits for its masks."""

    def launch(self, chunks: Sequence[Chunk]) -> PendingStep:
        assert not self._is_open, "the step before has not chosen"
        self._step += 1
        fails, sampling = self._step == self._failing_step, [chunk for chunk in chunks if chunk.is_sampled]
        constrained = [chunk for chunk in sampling if chunk.request.is_constrained]
        sequences = {id(chunk): self._read_sequence(chunk) for chunk in sampling}
        self._is_open = bool(constrained)
        chosen: dict[int, int] = {}

        def choose(chunk: Chunk, allowed: Sequence[int]) -> None:
            token_id = allowed[sum(sequences[id(chunk)]) % len(allowed)] if allowed else NOTHING_ALLOWED
            self._chosen[rows[id(chunk)]] = chunk.end, max(token_id, 0)
            chosen[id(chunk)] = token_id

        def constrain(masks: Masks) -> None:
            assert masks.shape[0] == len(constrained) and self._is_open
            self._is_open = False
            for chunk, mask in zip(constrained, masks.view("uint32").tolist(), strict=True):
                choose(chunk, [t for t in range(self._vocab_size) if mask[t // 32] >> t % 32 & 1])

        def wait() -> list[Sampled]:
            assert len(chosen) == len(sampling), "a step was committed before it was constrained"
            if fails:
                self._is_open = False  # the engine drops what is in flight
                raise RuntimeError("the device stumbled")
            return [(chosen[id(chunk)], None) for chunk in sampling]

        rows = {id(chunk): chunk.request.row for chunk in sampling}
        for chunk in sampling:
            if not chunk.request.is_constrained:
                choose(chunk, range(self._vocab_size))
        return PendingStep(wait, self._run_ahead, constrain if constrained else None)

    def _read_sequence(self, chunk: Chunk) -> list[int]:
        known = chunk.request.token_ids[: chunk.end]
        if len(known) < chunk.end:
            position, token_id = self._chosen[chunk.request.row]
            assert position == len(known) == chunk.end - 1, "the device was asked for a token that it does not know"
            known = [*known, token_id]
        return known

    def prepare_next(self, *, idle: bool = True) -> bool:
        return False
