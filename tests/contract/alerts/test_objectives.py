"""Alerts on objectives by promtool: how fast the budget is spent decides, over two windows, never a few requests."""

from pathlib import Path

import pytest

from pagoda_gateway.metrics import FIRST_TOKEN_BUCKETS
from pagoda_operator.api.objectives import FIRST_TOKEN_BOUNDS, TOKEN_BOUNDS
from pagoda_server.http.tally import INTER_TOKEN_LATENCY

from .promtool import Rules, write_rules
from .rules import OBJECTIVES, build_model_groups

MODEL = 'namespace="ns",model_deployment="m"'
FIRST_TOKEN = "pagoda_gateway_time_to_first_token_seconds"
TOKEN = "pagoda_server_inter_token_latency_seconds"
STARTED = "pagoda_server_time_to_first_token_seconds_count"
REQUESTS = "pagoda_gateway_requests_total"
ALERTS = {
    "time_to_first_token": "PagodaModelFirstTokenObjective",
    "inter_token_latency": "PagodaModelTokenLatencyObjective",
    "availability": "PagodaModelAvailabilityObjective",
}
BOTH = ["critical", "warning"]
WARNING = ["warning"]


def count(missed: str, answered: str, objective: str) -> dict[str, str]:
    """The series of a model in which of what this objective counts so many are missed, and so many are not."""
    if objective == "availability":
        codes = {"200": answered, "429": missed, "400": "0+1000x4500", "499": "0+1000x4500"}
        return {f'{REQUESTS}{{{MODEL},pod="m-1",code="{code}"}}': values for code, values in codes.items()}
    histogram, bound = (FIRST_TOKEN, "2.0") if objective == "time_to_first_token" else (TOKEN, "0.1")
    own = f'{MODEL},pod="m-1"'
    late = {f'{histogram}_bucket{{{MODEL},pod="m-2",le="{bound}"}}': "0+0x4500"}
    late |= {f'{histogram}_count{{{MODEL},pod="m-2"}}': missed}
    within = {f'{histogram}_bucket{{{own},le="{bound}"}}': answered, f"{histogram}_count{{{own}}}": answered}
    return {**late, **within, f"{STARTED}{{{own}}}": answered, f'{STARTED}{{{MODEL},pod="m-2"}}': missed}


def expect(rules: Rules, series: dict[str, str], alert: str, severities: list[str], *, at: str) -> None:
    every = "1h" if at.endswith("h") else "10m"  # a rule over three days is slow to evaluate
    rules.expect(series, [(alert, severity) for severity in severities], at=at, every=every)


@pytest.fixture
def rules(tmp_path: Path) -> Rules:
    return write_rules(tmp_path, build_model_groups(OBJECTIVES)[1:])


@pytest.fixture(params=ALERTS)
def objective(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# Of 100 a minute. The share is 0.99: thresholds are 14.4 %, 6 %, 3 % and 1 %.
@pytest.mark.parametrize(
    ("missed", "answered", "at", "severities"),
    [
        ("0+0x4500", "0+100x4500", "4h", []),
        ("0+20x4500", "0+80x4500", "80m", BOTH),
        ("0+7x4500", "0+93x4500", "7h", BOTH),
        ("0+4x4500", "0+96x4500", "25h", WARNING),
        ("0+2x4500", "0+98x4500", "74h", WARNING),
        ("0+0.9x4500", "0+99.1x4500", "74h", []),
    ],
    ids=["all is well", "14.4 in an hour", "6 in six hours", "3 in a day", "1 in three days", "within the budget"],
)
def test_the_pace_at_which_the_budget_is_spent_decides(
    rules: Rules, objective: str, missed: str, answered: str, at: str, severities: list[str]
) -> None:
    expect(rules, count(missed, answered, objective), ALERTS[objective], severities, at=at)


def test_what_is_over_alarms_no_longer(rules: Rules, objective: str) -> None:
    """An hour of nothing but misses, and then ten good minutes: the short windows of both pages know it."""
    series = count("0+100x60 6000+0x100", "0+0x60 0+100x100", objective)
    expect(rules, series, ALERTS[objective], BOTH, at="60m")
    expect(rules, series, ALERTS[objective], WARNING, at="100m")


def test_a_few_requests_alarm_nobody(rules: Rules, objective: str) -> None:
    series = count("0+1x4500", "0+0x4500", objective)
    expect(rules, series, ALERTS[objective], [], at="80m")


def test_a_model_that_nobody_asks_alarms_nobody(rules: Rules, objective: str) -> None:
    series = count("0+100x30 3000+0x4500", "0+0x4500", objective)
    expect(rules, series, ALERTS[objective], [], at="26h")


def test_an_objective_is_only_of_its_own_figures(rules: Rules) -> None:
    good = [count("0+0x100", "0+100x100", name) for name in ("inter_token_latency", "availability")]
    bad = count("0+100x100", "0+0x100", "time_to_first_token")
    expect(rules, {**good[0], **good[1], **bad}, ALERTS["time_to_first_token"], BOTH, at="90m")


def test_the_loosest_objective_can_still_alarm(tmp_path: Path) -> None:
    rules = write_rules(tmp_path, build_model_groups({"availability": 0.9})[1:])
    series = count("0+95x100", "0+5x100", "availability")
    expect(rules, series, ALERTS["availability"], BOTH, at="90m")


def test_an_objective_may_name_each_bound_that_its_histogram_counts_by() -> None:
    assert FIRST_TOKEN_BOUNDS == FIRST_TOKEN_BUCKETS
    assert INTER_TOKEN_LATENCY.buckets == TOKEN_BOUNDS


def test_a_model_without_objectives_has_no_rules_of_them() -> None:
    assert len(build_model_groups()) == len(build_model_groups({"share": 0.95})) == 1


def test_an_objective_for_the_first_token_takes_the_place_of_our_threshold() -> None:
    def names(groups: list[dict[str, object]]) -> str:
        return str(groups)

    assert "PagodaModelSlowFirstToken" in names(build_model_groups({"availability": 0.99}))
    assert "PagodaModelSlowFirstToken" not in names(build_model_groups({"timeToFirstTokenSeconds": 5}))
