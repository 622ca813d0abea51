"""Joins that must be exact, on series that a test makes up: `llama` is not `llama-70b`, nor is its GPU."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from helm.dashboards.queries import gpu, load
from tests.contract.alerts.promtool import find_promtool

from .expressions import Expression

pytestmark = pytest.mark.full
UP = "pagoda_gateway_server_up"
UTIL = "DCGM_FI_DEV_GPU_UTIL"
PODS = {"llama-abc12-x": "llama", "llama-70b-def34-y": "llama-70b", "llama": "llama"}
"""The pods of two models, and one whose name is a model's."""


def check(tmp_path: Path, series: dict[str, str], query: str, expected: dict[str, float]) -> None:
    """Holds Prometheus to these samples, and no others, of the query as Grafana would send it for model `llama`."""
    asked = Expression("", query).with_values(namespace="ns", model="llama")
    samples = [{"labels": labels, "value": value} for labels, value in expected.items()]
    test: dict[str, Any] = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [{"expr": asked, "eval_time": "5m", "exp_samples": samples}],
    }
    case = tmp_path / "case.yaml"
    case.write_text(yaml.safe_dump({"rule_files": [], "evaluation_interval": "1m", "tests": [test]}))
    command = [find_promtool(), "test", "rules", str(case)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def gateways() -> dict[str, str]:
    labels = [f'namespace="ns",model_deployment="{model}",pod="{pod}"' for pod, model in PODS.items()]
    return {f"{UP}{{{one}}}": "1+0x10" for one in labels} | {
        f'{UP}{{namespace="other",model_deployment="llama",pod="llama-70b-def34-y"}}': "1+0x10"
    }


@pytest.mark.parametrize("honored", [True, False], ids=["honoured labels", "exported labels"])
def test_a_gpu_is_shown_with_the_model_whose_pod_uses_it(tmp_path: Path, honored: bool) -> None:
    own = "" if honored else 'namespace="gpu-operator",pod="dcgm-exporter",'
    prefix = "" if honored else "exported_"
    gpus = {
        f'{UTIL}{{{own}gpu="{at}",{prefix}namespace="ns",{prefix}pod="{pod}"}}': f"{10 * at + 10}+0x10"
        for at, pod in enumerate(PODS)
    }
    idle = {f'{UTIL}{{{own or "x="}gpu="9"}}'.replace("x=gpu", "gpu"): "0+0x10"}
    shown = {
        '{namespace="ns",model_deployment="llama",pod="llama-abc12-x",gpu="0"}': 10.0,
        '{namespace="ns",model_deployment="llama",pod="llama",gpu="2"}': 30.0,
    }
    check(tmp_path, gateways() | gpus | idle, gpu(UTIL, "avg"), shown)


def test_the_load_of_a_model_is_its_own_and_two_operators_do_not_double_it(tmp_path: Path) -> None:
    figures = {"demand_tokens_per_second": 150, "capacity_tokens_per_second": 100, "ready_replicas": 2}
    series = {
        f'pagoda_model_{name}{{namespace="ns",model_deployment="{model}",pod="{pod}"}}': f"{value * scale}+0x10"
        for name, value in figures.items()
        for model, scale in (("llama", 1), ("llama-70b", 7))
        for pod in ("pagoda-0", "pagoda-1")
    }
    check(tmp_path, series, load(), {'{namespace="ns",model_deployment="llama"}': 0.75})


def test_a_model_without_ready_replicas_has_no_load_rather_than_an_endless_one(tmp_path: Path) -> None:
    figures = {"demand_tokens_per_second": 150, "capacity_tokens_per_second": 100, "ready_replicas": 0}
    series = {f'pagoda_model_{n}{{namespace="ns",model_deployment="llama"}}': f"{v}+0x10" for n, v in figures.items()}
    check(tmp_path, series, load(), {})
