"""Every alert by promtool: it fires in its own trouble, and neither when all is well nor in what only looks like it."""

from pathlib import Path

import pytest

from .promtool import Rules, write_rules
from .rules import build_all_rules, build_chart_groups, build_model_groups

MODEL = 'namespace="ns",model_deployment="m"'
OPERATOR = 'namespace="pagoda-system"'
FIRST_TOKEN = "pagoda_server_time_to_first_token_seconds"
HOUR = "x60"
"""A sample each minute, for an hour."""


def model(name: str, more: str = "") -> list[str]:
    """A series of the operator about the model: each of its two replicas shows it."""
    return [f'pagoda_model_{name}{{{MODEL},pod="operator-{n}"{more}}}' for n in (1, 2)]


def pod(name: str, more: str = "", number: int = 1) -> str:
    return f'pagoda_{name}{{{MODEL},pod="m-{number}"{more}}}'


def condition(kind: str, reason: str, value: int) -> dict[str, str]:
    series = model("condition", f',type="{kind}",reason="{reason}"')
    return dict.fromkeys(series, f"{value}+0{HOUR}")


def always(value: float, *series: str) -> dict[str, str]:
    return dict.fromkeys(series, f"{value}+0{HOUR}")


def each_minute(count: float, *series: str) -> dict[str, str]:
    return dict.fromkeys(series, f"0+{count}{HOUR}")


def no_more(*series: str) -> dict[str, str]:
    """The series end before the alerts are asked for."""
    return dict.fromkeys(series, "1+0x5 stale")


def answered(code: int) -> str:
    return pod("gateway_requests_total", f',code="{code}"')


def finished(reason: str) -> str:
    return pod("server_request_success_total", f',finished_reason="{reason}"')


def first_tokens(bound: str) -> str:
    return f'{FIRST_TOKEN}_bucket{{{MODEL},pod="m-1",le="{bound}"}}'


WELL: dict[str, str] = {
    **always(1, *model("ready"), *model("scaling_active")),
    **always(150, *model("demand_tokens_per_second")),
    **always(100, *model("capacity_tokens_per_second")),
    **always(2, *model("ready_replicas"), *model("replicas"), *model("hpa_desired_replicas")),
    **always(3, *model("hpa_max_replicas")),
    **condition("Ready", "Serving", 1),
    **condition("PodsReady", "AllReady", 1),
    **condition("Progressing", "Complete", 0),
    **always(0, pod("gateway_keys_refused", ',reason="short"')),
    **always(1, pod("gateway_server_up"), pod("gateway_server_up", number=2)),
    **each_minute(100, answered(200)),
    **each_minute(1, answered(429), answered(500), answered(503)),
    **each_minute(100, finished("stop")),
    **each_minute(0, finished("error")),
    **each_minute(
        100, *map(first_tokens, ("1.0", "10.0", "20.0", "+Inf")), f'{FIRST_TOKEN}_count{{{MODEL},pod="m-1"}}'
    ),
    **each_minute(1, pod("server_preemptions_total")),
    **each_minute(500, pod("server_steps_total")),
    **always(0.5, pod("server_kv_usage_ratio")),
    **always(4, pod("server_requests_running")),
    **always(0, pod("server_requests_waiting")),
}
SERIES_OF_CONDITIONS = {
    kind: model("condition", f',type="{kind}",reason="{reason}"')
    for kind, reason in (("Ready", "Serving"), ("PodsReady", "AllReady"))
}


def turned(kind: str, reason: str, value: int) -> dict[str, str]:
    """A condition with another reason than in WELL: the operator shows one series of it."""
    return {**no_more(*SERIES_OF_CONDITIONS.get(kind, ())), **condition(kind, reason, value)}


Case = tuple[dict[str, str], dict[str, str]]
"""Changes of WELL, and the alerts that fire, each with its severity."""
FEW = {
    **each_minute(1, answered(200), finished("stop")),
    **each_minute(0, answered(429), answered(500), answered(503), pod("server_preemptions_total")),
}
AT_MAXIMUM = {
    **always(3, *model("hpa_desired_replicas"), *model("ready_replicas"), *model("replicas")),
    **always(1, pod("gateway_server_up", number=3)),
    **always(240, *model("demand_tokens_per_second")),
}
FIRES: dict[str, Case] = {
    "NotReady": (always(0, *model("ready")), {"NotReady": "critical"}),
    "RolloutStuck": (turned("Stalled", "RolloutStuck", 1), {"RolloutStuck": "warning"}),
    "RolloutStuck, and what was ready serves": (turned("Ready", "RolloutFailing", 1), {"RolloutStuck": "warning"}),
    "CrashLooping": (turned("PodsReady", "CrashLooping", 0), {"CrashLooping": "warning"}),
    "CrashLooping for memory": (
        {**turned("PodsReady", "OutOfMemory", 0), **turned("Stalled", "OutOfMemory", 1)},
        {"CrashLooping": "warning"},
    ),
    "NotScaling": (always(0, *model("scaling_active")), {"NotScaling": "warning"}),
    "KeysRefused": (always(1, pod("gateway_keys_refused", ',reason="short"')), {"KeysRefused": "warning"}),
    "ServerErrors": (each_minute(10, answered(500)), {"ServerErrors": "critical"}),
    "EngineErrors": (each_minute(3, finished("error")), {"EngineErrors": "warning"}),
    "RefusesRequests": (each_minute(10, answered(429)), {"RefusesRequests": "warning"}),
    "SlowFirstToken": (each_minute(10, *map(first_tokens, ("1.0", "10.0"))), {"SlowFirstToken": "warning"}),
    "Overloaded": (
        {**AT_MAXIMUM, **always(350, *model("demand_tokens_per_second"))},
        {"Overloaded": "warning", "AtMaximum": "warning"},
    ),
    "AtMaximum": (AT_MAXIMUM, {"AtMaximum": "warning"}),
    "Preempts": (each_minute(20, pod("server_preemptions_total")), {"Preempts": "warning"}),
    "Preempts, and nothing finishes": (
        {**each_minute(20, pod("server_preemptions_total")), **each_minute(0, finished("stop"))},
        {"Preempts": "warning"},
    ),
    "KVCacheFull": (
        {**always(0.99, pod("server_kv_usage_ratio")), **always(3, pod("server_requests_waiting"))},
        {"KVCacheFull": "warning"},
    ),
    "EngineStuck": ({pod("server_steps_total"): "0+500x30 15000+0x30"}, {"EngineStuck": "critical"}),
    "PodsNotScraped": (no_more(pod("gateway_server_up", number=2)), {"PodsNotScraped": "warning"}),
    "PodsNotScraped, none of them": (
        no_more(pod("gateway_server_up"), pod("gateway_server_up", number=2)),
        {"PodsNotScraped": "warning"},
    ),
    "ServerMetricsMissing": (always(0, pod("gateway_server_up")), {"ServerMetricsMissing": "warning"}),
    "LoadUnknown": (
        no_more(*model("demand_tokens_per_second"), *model("capacity_tokens_per_second")),
        {"LoadUnknown": "warning"},
    ),
}
SILENT: dict[str, dict[str, str]] = {
    "NotReady, and ready again": dict.fromkeys(model("ready"), "0+0x35 1+0x25"),
    "NotReady, and just deleted": dict.fromkeys(WELL, "1+0x5 0+0x10 stale"),
    "RolloutStuck: a roll-out goes on": {
        **condition("Reconciling", "Progressing", 1),
        **dict.fromkeys(model("ready_replicas"), "2+0x30 1+0x30"),
    },
    "RolloutStuck for two minutes": dict.fromkeys(
        model("condition", ',type="Stalled",reason="ImagePullFailed"'), "0+0x37 1+0x20"
    ),
    "RolloutStuck: somebody paused it": turned("Stalled", "Paused", 1),
    "CrashLooping: another reason": turned("PodsReady", "Starting", 0),
    "NotScaling for ten minutes": dict.fromkeys(model("scaling_active"), "1+0x30 0+0x30"),
    "KeysRefused: mended": {pod("gateway_keys_refused", ',reason="short"'): "1+0x30 0+0x30"},
    "ServerErrors of a few requests": {**FEW, **each_minute(0.5, answered(500))},
    "ServerErrors: clients' own": each_minute(50, answered(400), answered(499)),
    "EngineErrors of a few requests": {**FEW, **each_minute(0.2, finished("error"))},
    "RefusesRequests of a few requests": {**FEW, **each_minute(0.2, answered(429), answered(503))},
    "SlowFirstToken of a few requests": each_minute(
        0.1, *map(first_tokens, ("20.0", "+Inf")), f'{FIRST_TOKEN}_count{{{MODEL},pod="m-1"}}'
    )
    | each_minute(0, *map(first_tokens, ("1.0", "10.0"))),
    "Overloaded, and still scaling": always(350, *model("demand_tokens_per_second")),
    "AtMaximum, and no more is asked for": {
        **AT_MAXIMUM,
        **always(210, *model("demand_tokens_per_second")),
    },
    "Preempts of a few requests": {**FEW, **each_minute(0.5, pod("server_preemptions_total"))},
    "KVCacheFull, and nobody waits": always(0.99, pod("server_kv_usage_ratio")),
    "EngineStuck: it has nothing to do": {
        **always(0, pod("server_requests_running")),
        pod("server_steps_total"): "0+500x30 15000+0x30",
    },
    "EngineStuck: its first request after an hour": {
        pod("server_requests_running"): "0+0x39 1+0x21",
        pod("server_steps_total"): "15000+0x39 15000+5x21",
    },
    "PodsNotScraped: scaled to zero": {
        **always(0, *model("ready_replicas"), *model("replicas"), *model("demand_tokens_per_second")),
        **no_more(pod("gateway_server_up"), pod("gateway_server_up", number=2)),
    },
    "PodsNotScraped: one more than is ready": always(1, *model("ready_replicas")),
    "ServerMetricsMissing: the pod starts": {
        **always(0, pod("gateway_server_up", number=3)),
        **always(3, *model("replicas")),
    },
    "LoadUnknown: scaled to zero": {
        **always(0, *model("ready_replicas"), *model("replicas")),
        **no_more(*model("demand_tokens_per_second")),
        **no_more(pod("gateway_server_up"), pod("gateway_server_up", number=2)),
    },
    "LoadUnknown for a few minutes": dict.fromkeys(model("demand_tokens_per_second"), "150+0x33 _x4 150+0x20"),
}
CERTIFICATE = f'pagoda_operator_certificate_expiration_timestamp_seconds{{{OPERATOR},certificate="metrics_api"}}'
OPERATOR_WELL = {
    f'pagoda_operator_leader{{{OPERATOR},pod="operator-1"}}': f"1+0{HOUR}",
    f'pagoda_operator_leader{{{OPERATOR},pod="operator-2"}}': f"0+0{HOUR}",
    f'pagoda_operator_kind_readable{{{OPERATOR},kind="apps/Deployment"}}': f"1+0{HOUR}",
    f"pagoda_operator_errors_total{{{OPERATOR}}}": f"0+1{HOUR}",
    CERTIFICATE: f"{30 * 86400}+0x200",
}
LEADER, _, READABLE, ERRORS, _ = OPERATOR_WELL
OPERATOR_FIRES: dict[str, Case] = {
    "Down": ({LEADER: "1+0x20 0+0x40"}, {"Down": "critical"}),
    "Down, and not scraped": (no_more(*OPERATOR_WELL), {"Down": "critical"}),
    "LacksRight": ({READABLE: f"0+0{HOUR}"}, {"LacksRight": "warning"}),
    "Errors": ({ERRORS: f"0+10{HOUR}"}, {"Errors": "warning"}),
}
OPERATOR_SILENT = {
    "all is well": {},
    "Down for two minutes": {LEADER: "1+0x37 0+0x20"},
    "LacksRight, and then not": {READABLE: "0+0x30 1+0x30"},
    "Errors for ten minutes": {ERRORS: "0+1x30 30+10x30"},
    "the certificate was renewed": {CERTIFICATE: f"{86400}+0x30 {90 * 86400}+0x30"},
    "no metrics API, so no certificate": {CERTIFICATE: "_x60"},
}


@pytest.fixture
def rules(tmp_path: Path) -> Rules:
    return write_rules(tmp_path, build_model_groups())


@pytest.fixture
def operators(tmp_path: Path) -> Rules:
    return write_rules(tmp_path, build_chart_groups())


def full_names(part: str, alerts: dict[str, str]) -> list[tuple[str, str]]:
    return [(f"Pagoda{part}{name}", severity) for name, severity in alerts.items()]


def test_the_rules_are_valid(tmp_path: Path) -> None:
    write_rules(tmp_path, [{"name": "all", "rules": build_all_rules()}]).check()


def test_a_model_that_is_well_raises_no_alarm(rules: Rules) -> None:
    rules.expect(WELL)


@pytest.mark.parametrize("trouble", FIRES)
def test_an_alert_fires_in_its_own_trouble_and_no_other_does(rules: Rules, trouble: str) -> None:
    changes, alerts = FIRES[trouble]
    rules.expect(WELL | changes, full_names("Model", alerts))


@pytest.mark.parametrize("trouble", SILENT)
def test_what_only_looks_like_trouble_raises_no_alarm(rules: Rules, trouble: str) -> None:
    rules.expect(WELL | SILENT[trouble])


@pytest.mark.parametrize("trouble", OPERATOR_FIRES)
def test_an_alert_about_the_operator_fires_in_its_own_trouble(operators: Rules, trouble: str) -> None:
    changes, alerts = OPERATOR_FIRES[trouble]
    operators.expect(OPERATOR_WELL | changes, full_names("Operator", alerts))


@pytest.mark.parametrize("trouble", OPERATOR_SILENT)
def test_an_operator_that_is_well_raises_no_alarm(operators: Rules, trouble: str) -> None:
    operators.expect(OPERATOR_WELL | OPERATOR_SILENT[trouble])


def test_a_hosts_certificate_that_is_not_renewed_raises_an_alarm_a_week_before_its_end(rules: Rules) -> None:
    lasting = {name: values.replace("x60", "x200") for name, values in WELL.items()}
    shown = model("certificate_expiration_timestamp_seconds")[0]
    expires = [("PagodaModelCertificateExpires", "warning")]
    rules.expect({**lasting, shown: f"{6 * 86400}+0x200"}, expires, at="90m")
    rules.expect({**lasting, shown: "-60+0x200"}, expires, at="90m")
    rules.expect({**lasting, shown: f"{8 * 86400}+0x200"}, at="90m")


def test_a_certificate_that_is_not_renewed_raises_an_alarm_two_weeks_before_its_end(operators: Rules) -> None:
    lasting = {name: values.replace("x60", "x200") for name, values in OPERATOR_WELL.items()}
    near = {**lasting, CERTIFICATE: f"{13 * 86400}+0x200"}
    operators.expect(near, [("PagodaOperatorCertificateExpires", "warning")], at="90m")
    operators.expect(lasting, at="90m")


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    fires = {name.partition(",")[0].split()[0] for name in (*FIRES, *OPERATOR_FIRES, "CertificateExpires")}
    silent = {name.replace(":", " ").replace(",", " ").split()[0] for name in (*SILENT, "CertificateExpires")}
    named = {rule["alert"] for rule in build_all_rules() if "alert" in rule}
    ours = {name for name in named if not name.endswith("Objective")}
    assert {name.removeprefix("PagodaModel").removeprefix("PagodaOperator") for name in ours} == fires
    assert {name.removeprefix("PagodaModel") for name in ours if name.startswith("PagodaModel")} == silent


def test_what_a_person_reads_has_the_model_and_figures_with_units(rules: Rules) -> None:
    (alert,) = [rule for rule in build_model_groups()[0]["rules"] if rule["alert"] == "PagodaModelRefusesRequests"]
    said = {**alert["annotations"], "summary": "ns/m refuses 9.821% of its requests"}
    expected = {"exp_labels": {"namespace": "ns", "model_deployment": "m", "severity": "warning"}}
    firing = {"eval_time": "40m", "alertname": alert["alert"], "exp_alerts": [{**expected, "exp_annotations": said}]}
    changes, alerts = FIRES["RefusesRequests"]
    rules.expect(WELL | changes, full_names("Model", alerts), alert_rule_test=[firing])
