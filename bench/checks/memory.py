"""Samples of what a long run holds, and the judgement whether it grew. Linux: the resident size is read from /proc."""

import gc
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Sample:
    ended: int
    """Requests that had ended when it was taken."""
    rss_bytes: int
    """Resident memory of the process."""
    cuda_bytes: int
    """Bytes of live tensors on the GPU; 0 without one."""
    objects: Mapping[str, int] = field(default_factory=dict)
    """Live Python objects, by the name of their class."""


@dataclass(frozen=True, slots=True)
class Slack:
    """How far memory may grow between the first tenth of a run and its end."""

    rss_bytes: int
    cuda_bytes: int


def read_rss_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def count_objects(classes: Sequence[type]) -> dict[str, int]:
    """Collects first, so that garbage in cycles does not count."""
    gc.collect()
    counts = {one.__name__: 0 for one in classes}
    for found in gc.get_objects():
        if type(found) in classes:
            counts[type(found).__name__] += 1
    return counts


def find_growth(samples: Sequence[Sample], slack: Slack, most_objects: Mapping[str, int]) -> list[str]:
    """Says what grew: the last sample against the largest of the first tenth, and objects against their maximum."""
    problems = [
        f"{count:,} objects of {name} live after {sample.ended:,} requests; at most {most_objects[name]:,} should"
        for sample in samples
        for name, count in sample.objects.items()
        if count > most_objects[name]
    ]
    last = samples[-1]
    first = [sample for sample in samples if sample.ended <= last.ended / 10] or [samples[0]]
    for what, now, before, allowed in (
        ("resident memory", last.rss_bytes, max(one.rss_bytes for one in first), slack.rss_bytes),
        ("GPU memory", last.cuda_bytes, max(one.cuda_bytes for one in first), slack.cuda_bytes),
    ):
        if now - before > allowed:
            problems.append(
                f"{what} grew by {(now - before) / MIB:.1f} MiB from {before / MIB:.1f} MiB since the first tenth; "
                f"at most {allowed / MIB:.1f} MiB is allowed"
            )
    return problems
