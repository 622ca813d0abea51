from random import Random

import torch

from bench.checks.accuracy import BUNDLED
from bench.checks.endurance import MAX_OBJECTS, Totals, build_engine, build_request, endure, find_leftovers
from bench.checks.memory import MIB, Sample, Slack, count_objects, find_growth

SLACK = Slack(rss_bytes=10 * MIB, cuda_bytes=MIB)


def sample(ended: int, rss_mib: float = 100, cuda_mib: float = 0, requests: int = 0) -> Sample:
    return Sample(ended, int(rss_mib * MIB), int(cuda_mib * MIB), {"Request": requests})


def find(*samples: Sample) -> list[str]:
    return find_growth(samples, SLACK, {"Request": 5})


def test_memory_may_grow_in_the_first_tenth_and_by_the_slack() -> None:
    assert find(sample(0, 10), sample(100, 200), sample(500, 205), sample(1000, 210)) == []


def test_memory_that_grows_after_the_first_tenth_is_a_leak() -> None:
    [problem] = find(sample(0), sample(100), sample(500, 105), sample(1000, 110.5))
    assert "resident memory grew by 10.5 MiB from 100.0 MiB" in problem
    [problem] = find(sample(0), sample(100, cuda_mib=3), sample(1000, cuda_mib=5))
    assert "GPU memory grew by 2.0 MiB" in problem


def test_requests_that_stay_alive_are_a_leak() -> None:
    [problem] = find(sample(0), sample(100, requests=6), sample(1000, requests=5))
    assert "6 objects of Request live after 100 requests" in problem


def test_objects_are_counted_by_their_class() -> None:
    class Kept:
        pass

    kept = [Kept(), Kept()]
    assert count_objects([Kept, Totals]) == {"Kept": len(kept), "Totals": 0}


def test_requests_are_the_same_for_the_same_seed() -> None:
    assert [build_request(Random(3), number, 1536) for number in range(9)] == [
        build_request(Random(3), number, 1536) for number in range(9)
    ]


def test_a_short_run_ends_every_request_and_leaves_nothing() -> None:
    engine = build_engine(BUNDLED, torch.device("cpu"))
    totals, samples = endure(engine, 24, 1, 1536)
    assert totals.submitted == totals.ended == 24 and totals.tokens > 24
    assert find_leftovers(engine) == []
    assert find_growth(samples, Slack(10**12, 0), MAX_OBJECTS) == []
