"""The alerts by promtool: they are valid rules, silent when all is well, and each fires in its own trouble."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from pagoda_operator.api import ModelDeployment
from pagoda_operator.objects.prometheusrule import build_prometheusrule

pytestmark = pytest.mark.full
HOME = Path(os.environ.get("CLUSTER_HOME", Path.home() / ".cache/pagoda-cluster"))
PROMTOOL = HOME / "bin" / "promtool"
LABELS = 'namespace="ns",model_deployment="m"'
BUCKET = "server_time_to_first_token_seconds_bucket"
WELL = {
    f"model_ready{{{LABELS}}}": "1+0x60",
    f"model_scaling_active{{{LABELS}}}": "1+0x60",
    f"model_demand_tokens_per_second{{{LABELS}}}": "150+0x60",
    f"model_capacity_tokens_per_second{{{LABELS}}}": "100+0x60",
    f"model_ready_replicas{{{LABELS}}}": "2+0x60",
    f'gateway_keys_refused{{{LABELS},reason="short"}}': "0+0x60",
    f"model_hpa_desired_replicas{{{LABELS}}}": "3+0x60",
    f"model_hpa_max_replicas{{{LABELS}}}": "3+0x60",
    f'gateway_requests_total{{{LABELS},code="200"}}': "0+100x60",
    f'gateway_requests_total{{{LABELS},code="429"}}': "0+1x60",
    f'{BUCKET}{{{LABELS},le="1"}}': "0+100x60",
    f'{BUCKET}{{{LABELS},le="10"}}': "0+100x60",
    f'{BUCKET}{{{LABELS},le="20"}}': "0+100x60",
    f'{BUCKET}{{{LABELS},le="+Inf"}}': "0+100x60",
}
TROUBLES: dict[str, tuple[dict[str, str], list[str]]] = {
    "all is well": ({}, []),
    "not ready": ({f"model_ready{{{LABELS}}}": "0+0x60"}, ["NotReady"]),
    "ready again": ({f"model_ready{{{LABELS}}}": "0+0x25 1+0x35"}, []),
    "refuses": ({f'gateway_requests_total{{{LABELS},code="429"}}': "0+10x60"}, ["RefusesRequests"]),
    "too much demand": ({f"model_demand_tokens_per_second{{{LABELS}}}": "250+0x60"}, ["Overloaded"]),
    "too much demand, and still scaling": (
        {
            f"model_demand_tokens_per_second{{{LABELS}}}": "250+0x60",
            f"model_hpa_desired_replicas{{{LABELS}}}": "2+0x60",
        },
        [],
    ),
    "slow": (
        {f'{BUCKET}{{{LABELS},le="{le}"}}': "0+10x60" for le in ("1", "10")},
        ["SlowFirstToken"],
    ),
    "a key that is none": ({f'gateway_keys_refused{{{LABELS},reason="short"}}': "1+0x60"}, ["KeysRefused"]),
    "blind autoscaler": ({f"model_scaling_active{{{LABELS}}}": "0+0x60"}, ["NotScaling"]),
}


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    spec: dict[str, Any] = {"model": {"uri": "bundled://pagoda-tiny"}, "autoscaling": {"maxReplicas": 3}}
    spec["auth"] = {"apiKeysSecretRef": {"name": "keys"}}
    raw = {"apiVersion": "pagoda.dev/v1alpha1", "kind": "ModelDeployment", "metadata": {"name": "m", "namespace": "ns"}}
    rule = build_prometheusrule(ModelDeployment.model_validate({**raw, "spec": spec}))
    assert rule is not None
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rule["spec"]))
    return tmp_path / "rules.yaml"


def promtool(*arguments: object) -> "subprocess.CompletedProcess[str]":
    if not PROMTOOL.exists():
        pytest.fail(f"there is no {PROMTOOL}: run e2e/cluster/build.sh full")
    return subprocess.run([PROMTOOL, *map(str, arguments)], capture_output=True, text=True, check=False)


def write_case(rules: Path, series: dict[str, str], alerts: list[str]) -> Path:
    """These series for 40 minutes, and then exactly these alerts firing."""
    inputs = [{"series": f"pagoda_{name}", "values": values} for name, values in series.items()]
    firing = [{"labels": f'{{alertname="PagodaModel{name}"}}', "value": 1} for name in alerts]
    asked = {"expr": 'count by (alertname) (ALERTS{alertstate="firing"})', "eval_time": "40m", "exp_samples": firing}
    test: dict[str, Any] = {"interval": "1m", "input_series": inputs, "promql_expr_test": [asked]}
    case = rules.parent / "case.yaml"
    case.write_text(yaml.safe_dump({"rule_files": [str(rules)], "evaluation_interval": "1m", "tests": [test]}))
    return case


def test_the_rules_are_valid(rules: Path) -> None:
    done = promtool("check", "rules", "--lint=all", "--lint-fatal", rules)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("trouble", TROUBLES)
def test_each_alert_fires_in_its_own_trouble_and_in_no_other(rules: Path, trouble: str) -> None:
    changes, alerts = TROUBLES[trouble]
    done = promtool("test", "rules", write_case(rules, WELL | changes, alerts))
    assert done.returncode == 0, done.stdout + done.stderr
