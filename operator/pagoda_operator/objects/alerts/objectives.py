"""Alerts on objectives: how fast the budget of misses is spent, over a long window and a short one together.

The method and its factors are those of Google's SRE Workbook, chapter 5, for a budget of 30 days. The long window says
that it matters, the short one that it still goes on.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pagoda_operator.api import ModelDeployment
from pagoda_operator.api.objectives import Objectives
from pagoda_operator.kube.objects import Object
from pagoda_operator.objects.alerts.rule import Alert, Severity, select, sum_increase, sum_rate

MINIMUM_REQUESTS = 100
"""Within the long window: of fewer, a handful of misses is a large share."""
MAXIMUM_THRESHOLD = 0.9
"""A loose objective, spent many times too fast, would ask for a share of misses above one."""
REQUESTS = "pagoda_gateway_requests_total"
FIRST_TOKENS = "pagoda_gateway_time_to_first_token_seconds"
TOKENS = "pagoda_server_inter_token_latency_seconds"
STARTED = "pagoda_server_time_to_first_token_seconds_count"
VALID = 'code=~"2..|429|5.."'
MISSED = 'code=~"429|5.."'
MISSES_RECORD = "model_deployment:pagoda_objective_misses:ratio_rate"
REQUESTS_RECORD = "model_deployment:pagoda_objective_requests:increase"


@dataclass(frozen=True, slots=True)
class Burn:
    long: str
    short: str
    factor: float
    """How many times faster the budget is spent than it may be."""


BURNS: dict[Severity, tuple[Burn, Burn]] = {
    "critical": (Burn("1h", "5m", 14.4), Burn("6h", "30m", 6)),
    "warning": (Burn("1d", "2h", 3), Burn("3d", "6h", 1)),
}
FOR_MINUTES: dict[Severity, int] = {"critical": 2, "warning": 15}
LONG_WINDOWS = tuple(burn.long for pair in BURNS.values() for burn in pair)
WINDOWS = tuple(dict.fromkeys(w for pair in BURNS.values() for burn in pair for w in (burn.short, burn.long)))


@dataclass(frozen=True, slots=True)
class Objective:
    name: str
    """The label `objective` of its series."""
    alert: str
    share: float
    misses: Callable[[str], str]
    """The query of the share of misses within a window; it gives NaN, which alarms nobody, where nothing came."""
    requests: Callable[[str], str]
    """The query of how many requests these are of."""
    missed: str
    """What a miss is, after "3 % of"."""
    advice: str


def build_objective_rules(mdep: ModelDeployment) -> list[Object]:
    """Returns the recording rules of a model's objectives, then their alerts."""
    promised = mdep.spec.monitoring.objectives
    objectives = list(_find_objectives(mdep, promised)) if promised is not None else []
    records = [record for objective in objectives for record in _records(objective)]
    alerts = [_alert(mdep, objective, severity).build() for objective in objectives for severity in BURNS]
    return [*records, *alerts]


def _find_objectives(mdep: ModelDeployment, promised: Objectives) -> Iterator[Objective]:
    if (seconds := promised.time_to_first_token_seconds) is not None:
        yield Objective(
            "time_to_first_token",
            "PagodaModelFirstTokenObjective",
            promised.share,
            misses=lambda window: _later_than(mdep, FIRST_TOKENS, seconds, window),
            requests=lambda window: sum_increase(mdep, f"{FIRST_TOKENS}_count", window),
            missed=f"streaming answers have their first token later than {seconds:g} s",
            advice="Requests wait in the queue or in the engine, or their prompts are long.",
        )
    if (gap := promised.inter_token_latency_seconds) is not None:
        yield Objective(
            "inter_token_latency",
            "PagodaModelTokenLatencyObjective",
            promised.share,
            misses=lambda window: _later_than(mdep, TOKENS, gap, window),
            requests=lambda window: sum_increase(mdep, STARTED, window),
            missed=f"tokens come later than {gap:g} s after the one before",
            advice="Too many requests run at once, or long prompts are computed between the tokens.",
        )
    if promised.availability is not None:
        yield Objective(
            "availability",
            "PagodaModelAvailabilityObjective",
            promised.availability,
            misses=lambda window: (
                f"{sum_rate(mdep, REQUESTS, window, MISSED)} / {sum_rate(mdep, REQUESTS, window, VALID)}"
            ),
            requests=lambda window: sum_increase(mdep, REQUESTS, window, VALID),
            missed="requests are refused for load, or fail",
            advice="The label code of pagoda_gateway_requests_total says which: 429 and 503 are refusals.",
        )


def _later_than(mdep: ModelDeployment, histogram: str, seconds: float, window: str) -> str:
    """Returns the query of the share above a bound of a histogram, as its page writes the bound."""
    within = sum_rate(mdep, f"{histogram}_bucket", window, f'le="{float(seconds)}"')
    return f"1 - {within} / {sum_rate(mdep, f'{histogram}_count', window)}"


def _records(objective: Objective) -> Iterator[Object]:
    series = {f"{MISSES_RECORD}{window}": objective.misses(window) for window in WINDOWS}
    series |= {f"{REQUESTS_RECORD}{window}": objective.requests(window) for window in LONG_WINDOWS}
    for name, expr in series.items():
        yield {"record": name, "expr": expr, "labels": {"objective": objective.name}}


def _alert(mdep: ModelDeployment, objective: Objective, severity: Severity) -> Alert:
    own = select(mdep, f'objective="{objective.name}"')
    longest = BURNS[severity][1]
    return Alert(
        objective.alert,
        " or ".join(_burns(own, burn, 1 - objective.share) for burn in BURNS[severity]),
        FOR_MINUTES[severity],
        severity,
        f"misses its objective: {{{{ $value | humanizePercentage }}}} of its {objective.missed}",
        f"Over 30 days {1 - objective.share:.4%} of them may. This is a pace of {longest.factor:g} or more times that, "
        f"for {longest.long}, or of {BURNS[severity][0].factor:g} for {BURNS[severity][0].long}. {objective.advice}",
    )


def _burns(own: str, burn: Burn, budget: float) -> str:
    """Returns the query of the misses within the long window, while both windows spend the budget too fast."""
    threshold = f"{min(burn.factor * budget, MAXIMUM_THRESHOLD):.6g}"
    misses = " and ".join(f"{MISSES_RECORD}{window}{own} > {threshold}" for window in (burn.long, burn.short))
    return f"({misses} and {REQUESTS_RECORD}{burn.long}{own} >= {MINIMUM_REQUESTS})"
