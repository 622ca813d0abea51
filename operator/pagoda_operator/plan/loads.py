"""What the pods of a ModelDeployment serve, are asked for and can do, of what each of them says. Pure.

A pod that says nothing is missing, never zero: then the load of the model is not known.
"""

from collections.abc import Collection, Mapping, Sequence
from statistics import fmean
from typing import Annotated, Any

import msgspec

from pagoda_guard.parsing import Count, Figure
from pagoda_operator.kube.pods import is_ready

STALE_LOAD_SECONDS = 15.0
"""The age above which what a pod said is as good as nothing."""
MEASURED, OBSERVED = "measured", "observed"


class LoadUnknownError(Exception):
    """The load of a ModelDeployment cannot be told; the message says why."""


class Load(msgspec.Struct, frozen=True):
    """What one pod says, or all ready pods together: then rates are sums, and the capacity is still that of one pod.

    NB: a capacity below a tenth of a token per second is none that an HPA could divide by.
    """

    tokens_per_second: Figure
    demand_tokens_per_second: Figure
    capacity_tokens_per_second: Annotated[float, msgspec.Meta(ge=0.1, le=1e15)] | None = None
    capacity_source: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    queued: Count = 0


def sum_loads(ready_pods: int, loads: Mapping[str, Load]) -> Load | None:
    """Returns the load of a model, from its pods' loads by name; None unless each of `ready_pods` has told its own."""
    if not loads or len(loads) != ready_pods:
        return None
    capacity, source = find_capacity(loads.values())
    return Load(
        tokens_per_second=sum(load.tokens_per_second for load in loads.values()),
        demand_tokens_per_second=sum(load.demand_tokens_per_second for load in loads.values()),
        capacity_tokens_per_second=capacity,
        capacity_source=source,
        queued=sum(load.queued for load in loads.values()),
    )


def find_capacity(loads: Collection[Load]) -> tuple[float | None, str | None]:
    """Returns the tokens per second that one pod can serve, and how that is known: the mean of the pods that can tell.

    What full pods observed comes before what a start measured: a fresh pod does not mask it.
    """
    known = [(load.capacity_tokens_per_second, load.capacity_source) for load in loads]
    measured = [capacity for capacity, _ in known if capacity is not None]
    observed = [capacity for capacity, source in known if capacity is not None and source == OBSERVED]
    if not measured:
        return None, None
    return (fmean(observed), OBSERVED) if observed else (fmean(measured), MEASURED)


def sum_demand(pods: Sequence[Mapping[str, Any]], loads: Mapping[str, Load]) -> float:
    """Returns the tokens per second that all ready pods are asked for. Raises LoadUnknownError rather than guess."""
    ready = [pod["metadata"]["name"] for pod in pods if is_ready(pod)]
    if not ready:
        raise LoadUnknownError("no pod is ready")
    missing = sorted(name for name in ready if name not in loads)
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise LoadUnknownError(f"no fresh load from ready pods: {', '.join(missing[:3])}{more}")
    return sum(loads[name].demand_tokens_per_second for name in ready)
