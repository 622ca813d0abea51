"""The table of a profiled step: kernels by role, what a role moves and computes, the time between kernels. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench.profile.roles import ROLES, KernelEvent, assign_roles, shorten
from bench.work.costs import Cost, Role
from bench.work.limits import Rates

HEADER = f"{'':<46}{'calls':>7}{'µs':>10}{'of step':>9}{'MB':>10}{'TB/s':>7}{'of it':>7}{'TFLOP/s':>9}{'of it':>7}"
SMALL_SHARE = 0.001
"""Kernels below this share of the step are one line together."""


@dataclass(frozen=True, slots=True)
class Line:
    """One kernel; calls and microseconds are those of one step, on average."""

    role: Role
    name: str
    calls: float
    micros: float


@dataclass(frozen=True, slots=True)
class Profile:
    lines: list[Line]
    """The longest first."""
    step_us: float
    """From the first kernel to the end of the last one, divided by the steps."""
    idle_us: float
    """The part of a step in which nothing ran on the GPU."""


def summarise(events: Iterable[KernelEvent], num_steps: int) -> Profile:
    """Returns the profile of one step. Raises ValueError without events."""
    ordered = sorted(events, key=lambda event: event.start_us)
    if not ordered or num_steps < 1:
        raise ValueError(f"{len(ordered)} kernels of {num_steps} steps were seen; profile at least one step on a GPU")
    calls: dict[tuple[Role, str], int] = defaultdict(int)
    micros: dict[tuple[Role, str], float] = defaultdict(float)
    for event, role in zip(ordered, assign_roles(ordered), strict=True):
        key = (role, shorten(event.name))
        calls[key] += 1
        micros[key] += event.end_us - event.start_us
    lines = [Line(*key, count / num_steps, micros[key] / num_steps) for key, count in calls.items()]
    span = max(event.end_us for event in ordered) - ordered[0].start_us
    return Profile(
        sorted(lines, key=lambda line: -line.micros), span / num_steps, (span - count_busy(ordered)) / num_steps
    )


def count_busy(ordered: Sequence[KernelEvent]) -> float:
    """Returns the microseconds in which an event ran; they come in the order of their start."""
    busy, until = 0.0, float("-inf")
    for event in ordered:
        busy += max(0.0, event.end_us - max(event.start_us, until))
        until = max(until, event.end_us)
    return busy


def render_profile(profile: Profile, costs: Mapping[Role, Cost], rates: Rates | None) -> str:
    """Returns a table, roles in the order of `ROLES`, with shares of `rates` where they are known."""
    text = [HEADER]
    for role in ROLES:
        lines = [line for line in profile.lines if line.role == role]
        if lines:
            text += _render_role(role, lines, profile.step_us, costs.get(role), rates)
    text.append(_render_line("idle: between kernels", "", profile.idle_us, profile.step_us))
    text.append(_render_line("step, first kernel to last", "", profile.step_us, profile.step_us))
    return "\n".join(text)


def _render_role(
    role: Role, lines: Sequence[Line], step_us: float, cost: Cost | None, rates: Rates | None
) -> list[str]:
    micros, calls = sum(line.micros for line in lines), sum(line.calls for line in lines)
    head = _render_line(role, f"{calls:.0f}", micros, step_us) + (_render_cost(cost, micros, rates) if cost else "")
    large = [line for line in lines if line.micros >= SMALL_SHARE * step_us]
    small = [line for line in lines if line.micros < SMALL_SHARE * step_us]
    text = [head, *(_render_line(f"  {line.name}", f"{line.calls:.4g}", line.micros, step_us) for line in large)]
    if small:
        calls, micros = sum(line.calls for line in small), sum(line.micros for line in small)
        text.append(_render_line(f"  {len(small)} small ones", f"{calls:.4g}", micros, step_us))
    return text


def _render_line(name: str, calls: str, micros: float, step_us: float) -> str:
    return f"{name:<46}{calls:>7}{micros:>10.1f}{100 * micros / step_us:>7.1f} %"


def _render_cost(cost: Cost, micros: float, rates: Rates | None) -> str:
    bytes_per_second, flop_per_second = (each / (micros * 1e-6) for each in (cost.num_bytes, cost.flop))
    shares = ("", "")
    if rates:
        memory, arithmetic = bytes_per_second / rates.bytes_per_second, flop_per_second / rates.bf16_flop_per_second
        shares = (f"{100 * memory:.0f} %", f"{100 * arithmetic:.0f} %")
    return (
        f"{cost.num_bytes * 1e-6:>10.1f}{bytes_per_second * 1e-12:>7.2f}{shares[0]:>7}"
        f"{flop_per_second * 1e-12:>9.0f}{shares[1]:>7}"
    )
