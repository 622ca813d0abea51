"""Which decode graph a batch runs in, and when each is captured."""

from collections.abc import Callable
from typing import Any

import pytest

from pagoda_server.runtime.gpu.graphs import Graphs, choose_buckets, choose_first

BUCKETS = choose_buckets(256)


class Recorder:
    """Captures without a device: what ran, what was captured and what was replayed, in order."""

    def __init__(self, failing: int | None = None) -> None:
        self.ran: list[int] = []
        self.captured: list[int] = []
        self.replayed: list[int] = []
        self.cleared: list[int] = []
        self.failing = failing

    def capture(self, run: Callable[[], None]) -> Callable[[], None]:
        run()
        bucket = self.ran[-1]
        if bucket == self.failing:
            raise RuntimeError("out of memory")
        self.captured.append(bucket)
        return lambda: self.replayed.append(bucket)

    def build(self, buckets: list[int], **more: Any) -> Graphs:
        return Graphs(
            self.ran.append, buckets, self.capture, first=choose_first(buckets), clear=self.cleared.append, **more
        )


@pytest.mark.parametrize(("largest", "first"), [(256, [1, 4, 16, 64, 256]), (100, [1, 4, 16, 64, 100]), (1, [1])])
def test_a_coarse_ladder_and_the_largest_are_captured_first_from_the_largest_down(
    largest: int, first: list[int]
) -> None:
    recorder = Recorder()
    recorder.build(choose_buckets(largest)).capture_first()
    assert choose_first(choose_buckets(largest)) == first
    assert recorder.captured == first[::-1]


def test_the_rest_follows_one_by_one_from_the_largest_down() -> None:
    recorder = Recorder()
    graphs = recorder.build(BUCKETS)
    graphs.capture_first()
    begun = len(recorder.captured)
    while not graphs.is_complete:
        graphs.capture_next()
    assert recorder.captured[begun:] == [size for size in reversed(BUCKETS) if size not in choose_first(BUCKETS)]
    graphs.capture_next()
    assert sorted(recorder.captured) == BUCKETS, "and none twice"


def test_what_batches_ask_for_is_captured_first() -> None:
    recorder = Recorder()
    graphs = recorder.build(BUCKETS)
    graphs.capture_first()
    assert graphs.max_asked == 0
    for batch in (20, 70, 70, 64, 250):
        graphs.bucket_for(batch)
    assert graphs.max_asked == 2
    begun = len(recorder.captured)
    for _ in range(4):
        graphs.capture_next()
    assert recorder.captured[begun:] == [80, 24, 240, 224]
    assert graphs.max_asked == 0


def test_a_batch_runs_in_the_next_larger_captured_graph() -> None:
    recorder = Recorder()
    graphs = recorder.build(BUCKETS)
    graphs.capture_first()
    assert [graphs.bucket_for(batch) for batch in (0, 1, 2, 5, 16, 17, 65, 256)] == [0, 1, 4, 16, 16, 64, 256, 256]
    graphs.run(64)
    assert recorder.replayed == [64]
    while not graphs.is_complete:
        graphs.capture_next()
    assert [graphs.bucket_for(batch) for batch in (2, 5, 17, 65)] == [2, 8, 24, 80]


def test_without_a_capture_every_bucket_runs_as_it_is() -> None:
    ran: list[int] = []
    graphs = Graphs(ran.append, BUCKETS, None, first=choose_first(BUCKETS), clear=ran.append)
    graphs.capture_first()
    graphs.capture_next()
    assert graphs.is_complete
    graphs.run(graphs.bucket_for(17))
    assert ran == [24]


def test_a_bucket_whose_capture_failed_is_served_by_the_next_larger_one() -> None:
    recorder = Recorder(failing=240)
    graphs = recorder.build(BUCKETS)
    graphs.capture_first()
    with pytest.raises(RuntimeError, match="out of memory"):
        graphs.capture_next()
    assert graphs.bucket_for(230) == 256
    graphs.capture_next()
    assert recorder.captured[-1] == 224


def test_inputs_are_those_of_nobody_before_a_capture() -> None:
    recorder = Recorder()
    recorder.build(BUCKETS).capture_first()
    assert recorder.cleared == recorder.captured


def test_a_graph_that_is_much_larger_than_the_batch_is_not_used() -> None:
    recorder = Recorder()
    graphs = recorder.build(BUCKETS, stretch=1.25)
    graphs.capture_first()
    assert [graphs.bucket_for(batch) for batch in (60, 40, 250, 150)] == [64, 40, 256, 160]


def test_large_buckets_need_not_be_captured() -> None:
    recorder = Recorder()
    graphs = Graphs(
        recorder.ran.append, BUCKETS, recorder.capture, first=[64], clear=recorder.cleared.append, max_captured=128
    )
    graphs.capture_first()
    while not graphs.is_complete:
        graphs.capture_next()
    assert max(recorder.captured) == 128
    assert graphs.bucket_for(200) == 208
