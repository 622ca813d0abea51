"""How fast a GPU's clock ran while it was measured: cards of one name differ, and one at its power limit slows down."""

import atexit
import os
import statistics
import subprocess
import threading
from dataclasses import dataclass

FIELDS = ("utilization.gpu", "clocks.sm", "power.draw", "clocks_event_reasons.sw_power_cap")
INTERVAL_MILLISECONDS = 1000
"""Seldom: should a query hold up the driver, then fewer than one in a hundred of the gaps between tokens."""
BUSY_PERCENT = 50.0
"""A sample counts from this utilization on."""


@dataclass(frozen=True, slots=True)
class ClockSample:
    utilization_percent: float
    clock_mhz: float
    power_watts: float
    is_held_back: bool
    """By the power limit."""


class ClockWatch:
    """Samples of the GPU that CUDA_VISIBLE_DEVICES names first, by one `nvidia-smi` beside this process.

    Nothing is watched where that program is not.
    """

    def __init__(self) -> None:
        self._lock, self._samples = threading.Lock(), list[ClockSample]()
        self._process = start_sampling(os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0])
        if self._process is not None:
            threading.Thread(target=self._read, args=(self._process,), name="clocks", daemon=True).start()
            atexit.register(self.close)

    def take(self) -> str:
        """Describes what was sampled since the last call; empty when the GPU was never busy for long."""
        with self._lock:
            samples, self._samples = self._samples, []
        return describe_clocks(samples)

    def close(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                sample = parse_sample(line)
                if sample is not None:
                    with self._lock:
                        self._samples.append(sample)


def start_sampling(gpu: str) -> subprocess.Popen[str] | None:
    command = ["nvidia-smi", "-i", gpu, f"--query-gpu={','.join(FIELDS)}", "--format=csv,noheader,nounits"]
    command.append(f"-lms={INTERVAL_MILLISECONDS}")
    try:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    except OSError:
        return None


def parse_sample(line: str) -> ClockSample | None:
    """Returns None for a line in which a value is missing."""
    try:
        utilization, clock, power, held_back = line.split(",")
        return ClockSample(float(utilization), float(clock), float(power), held_back.strip() == "Active")
    except ValueError:
        return None


def describe_clocks(samples: list[ClockSample]) -> str:
    busy = [sample for sample in samples if sample.utilization_percent >= BUSY_PERCENT]
    if not busy:
        return ""
    clock = statistics.median(sample.clock_mhz for sample in busy)
    power = statistics.median(sample.power_watts for sample in busy)
    held_back = statistics.mean(sample.is_held_back for sample in busy)
    return f"{clock:,.0f} MHz, {power:.0f} W, at the power limit {held_back:.0%} of the time"
