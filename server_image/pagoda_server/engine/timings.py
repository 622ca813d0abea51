"""When the engine did what, of those requests that are traced: looked at once per step, and told twice per request.

Where nothing is traced a step is none the slower. NB: the clock is the machine's monotonic one, for a front makes times
of day of it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from pagoda_server.engine.request import Request, RequestState
from pagoda_server.wire import Timing

MAX_TOLD_PREEMPTIONS = 16


@dataclass(slots=True)
class _Times:
    request: Request
    started_at: float | None = None
    first_token_at: float | None = None
    steps_at_start: int = 0
    prefill_steps: int = 0
    preempted_at: list[float] = field(default_factory=list)

    def look(self, now: float, steps: int) -> None:
        request = self.request
        if self.started_at is None and request.num_admissions:
            self.started_at, self.steps_at_start = now, steps
        if self.first_token_at is None and request.num_output_tokens:
            self.first_token_at, self.prefill_steps = now, steps - self.steps_at_start
        runs_still = request.state is not RequestState.WAITING
        num_preemptions = min(request.num_admissions - runs_still, MAX_TOLD_PREEMPTIONS)
        if num_preemptions > len(self.preempted_at):
            self.preempted_at.append(now)

    def tell(self, steps: int, *, finished_at: float | None = None) -> Timing:
        has_token = self.first_token_at is not None
        return Timing(
            request_id=self.request.request_id,
            queued_at=self.request.submitted_at,
            started_at=self.started_at,
            first_token_at=self.first_token_at,
            finished_at=finished_at,
            prefill_steps=self.prefill_steps,
            decode_steps=steps - self.steps_at_start - self.prefill_steps if has_token else 0,
            preempted_at=list(self.preempted_at),
        )


class Timings:
    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._open: dict[str, _Times] = {}
        self._told: list[Timing] = []

    def begin(self, request: Request) -> None:
        self._open[request.request_id] = _Times(request)

    def look(self, steps: int) -> None:
        """Notes who has started, was preempted or has a first token; `steps`: how many were committed so far."""
        for times in self._open.values():
            had_token = times.first_token_at is not None
            times.look(self._clock(), steps)
            if times.first_token_at is not None and not had_token:
                self._told.append(times.tell(steps))

    def finish(self, request: Request, steps: int) -> None:
        times = self._open.pop(request.request_id, None) if self._open else None
        if times is not None:
            now = self._clock()
            times.look(now, steps)
            self._told.append(times.tell(steps, finished_at=now))

    def take(self) -> list[Timing]:
        """Returns what is to be told, ahead of the deltas of the same step."""
        told, self._told = self._told, []
        return told
