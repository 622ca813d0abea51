"""What the engine says it can serve: learnt while it is full, never lost while it is idle."""

import math
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from pagoda_server.engine.batch import Limits
from pagoda_server.engine.capacity import FOLLOW_SECONDS, WINDOW_SECONDS, Capacity, Measured
from pagoda_server.engine.engine import Engine
from pagoda_server.engine.pages import PagePool
from pagoda_server.wire import Sampling, Stats, Submit
from tests.doubles.clock import Clock
from tests.doubles.simulated import SimulatedRunner


@dataclass
class Load:
    """Drives an estimate with steps of a given rate and occupancy."""

    measured: float | None
    clock: Clock = field(default_factory=lambda: Clock(100.0))

    def __post_init__(self) -> None:
        self.capacity = Capacity(self.clock, measured=self.measured)

    def serve(self, rate: float, seconds: float, *, occupancy: float, step_seconds: float = 0.5) -> None:
        for _ in range(math.ceil(seconds / step_seconds)):
            self.capacity.begin_step()
            self.clock.now += step_seconds
            self.capacity.end_step(round(rate * step_seconds), occupancy)

    def rest(self, seconds: float) -> None:
        self.capacity.rest()
        self.clock.now += seconds


RATES = st.integers(1, 100_000).map(float)
STEPS = st.sampled_from([0.01, 0.5, 3.0, 8.0])


@given(measured=RATES | st.none(), rate=RATES, step_seconds=STEPS)
def test_a_steady_full_engine_ends_at_the_rate_it_serves(
    measured: float | None, rate: float, step_seconds: float
) -> None:
    load = Load(measured)
    served = round(rate * step_seconds) / step_seconds
    seconds = 6 * FOLLOW_SECONDS + 2 * (WINDOW_SECONDS + step_seconds)
    load.serve(rate, seconds, occupancy=1.0, step_seconds=step_seconds)
    if served == 0.0:
        assert load.capacity.tokens_per_second == measured, "no token is no capacity"
        return
    assert load.capacity.tokens_per_second is not None and load.capacity.source == "observed"
    error = abs(load.capacity.tokens_per_second - served)
    assert error <= abs((measured or served) - served) * math.exp(-6) + 1e-6 * served


def test_it_follows_down_as_fast_as_up() -> None:
    errors = []
    for measured in (100.0, 1900.0):
        load = Load(measured)
        load.serve(1000.0, FOLLOW_SECONDS, occupancy=1.0)
        errors.append((load.capacity.tokens_per_second or 0.0) - 1000.0)
    assert errors[0] == -errors[1] and math.isclose(errors[1], 900.0 * math.exp(-1))


@given(measured=RATES, rate=RATES, occupancy=st.floats(0.0, 0.89))
def test_an_engine_with_room_only_raises_it(measured: float, rate: float, occupancy: float) -> None:
    load = Load(measured)
    load.serve(rate, 30.0, occupancy=occupancy, step_seconds=1.0)
    assert load.capacity.tokens_per_second == max(measured, rate)
    assert load.capacity.source == "measured", "it was not seen at its limit"


@given(measured=RATES, seconds=st.floats(0.0, 1e7))
def test_an_idle_engine_keeps_it(measured: float, seconds: float) -> None:
    load = Load(measured)
    load.rest(seconds)
    load.serve(1.0, 0.01, occupancy=1.0, step_seconds=0.01)
    assert load.capacity.tokens_per_second == measured or seconds < WINDOW_SECONDS


def test_a_burst_shorter_than_a_window_is_no_full_window() -> None:
    load = Load(1000.0)
    for _ in range(20):
        load.serve(10.0, 3.0, occupancy=1.0)
        load.rest(3.0)
    assert load.capacity.tokens_per_second == 1000.0


def test_nothing_is_known_before_a_full_window() -> None:
    load = Load(None)
    load.serve(50.0, 60.0, occupancy=0.5)
    assert (load.capacity.tokens_per_second, load.capacity.source) == (None, None)
    load.serve(50.0, 2 * WINDOW_SECONDS, occupancy=1.0)
    assert (load.capacity.tokens_per_second, load.capacity.source) == (50.0, "observed")


STEP = st.tuples(st.floats(0.0, 20.0), st.integers(0, 10**7), st.floats(0.0, 1.0), st.booleans())


@given(measured=RATES | st.none(), steps=st.lists(STEP, max_size=60))
def test_it_is_always_a_positive_number_within_what_was_seen(
    measured: float | None, steps: list[tuple[float, int, float, bool]]
) -> None:
    load = Load(measured)
    for seconds, tokens, occupancy, rests in steps:
        load.capacity.begin_step()
        load.clock.now += seconds
        load.capacity.end_step(tokens, occupancy)
        if rests:
            load.rest(7.0)
        value = load.capacity.tokens_per_second
        if value is None:
            assert measured is None and load.capacity.source is None
        else:
            assert math.isfinite(value) and 0.0 < value <= max(measured or 0.0, 10**7 * 60 / WINDOW_SECONDS)


def run_engine(*, requests: int, seconds: float) -> Stats:
    """As many clients as `requests`, each of which asks again as soon as it has its answer."""
    device = SimulatedRunner(lambda chunks: 0.1, run_ahead=0)
    limits = Limits(max_model_len=64, max_num_seqs=4, max_batched_tokens=64, vocab_size=3)
    measured = Measured(tokens_per_second=1000.0)
    engine = Engine(device, limits, PagePool(64, 4), clock=lambda: device.now, measured=measured)
    names = iter(map(str, range(10**6)))
    open_requests = 0
    while device.now < seconds:
        while open_requests < requests:
            assert engine.submit(Submit(next(names), [1], Sampling(max_tokens=40))) is None
            open_requests += 1
        open_requests -= sum(delta.finish_reason is not None for delta in engine.step())
    return engine.stats()


def test_a_full_engine_tells_the_rate_it_serves() -> None:
    for requests in (4, 9):
        stats = run_engine(requests=requests, seconds=100.0)
        assert stats.capacity_source == "observed" and stats.waiting == max(0, requests - 4)
        served = 4 * (1 + 40) / 4.0
        assert math.isclose(stats.capacity_tokens_per_second or 0.0, served, rel_tol=0.05)


def test_an_engine_with_room_tells_what_was_measured() -> None:
    stats = run_engine(requests=2, seconds=100.0)
    assert (stats.capacity_tokens_per_second, stats.capacity_source) == (1000.0, "measured")
