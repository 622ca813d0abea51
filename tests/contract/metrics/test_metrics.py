"""What we tell people to query is what the pages show."""

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

from pagoda_operator.api import ModelDeployment
from pagoda_operator.objects.prometheusrule import build_prometheusrule

ROOT = Path(__file__).parents[3]
REFERENCE = runpy.run_path(str(ROOT / "docs" / "reference" / "generate_metrics.py"))
EXPRESSIONS = runpy.run_path(str(ROOT / "e2e" / "dashboards" / "expressions.py"))


def shown() -> set[str]:
    families = [family for part in REFERENCE["all_families"]().values() for family in part]
    return {name for family in families for name in family.samples()}


def alerts() -> list[Any]:
    spec: dict[str, Any] = {"model": {"uri": "bundled://pagoda-tiny"}, "autoscaling": {"maxReplicas": 2}}
    spec["auth"] = {"apiKeysSecretRef": {"name": "keys"}}
    raw = {"apiVersion": "pagoda.dev/v1alpha1", "kind": "ModelDeployment", "metadata": {"name": "m", "namespace": "ns"}}
    rule = build_prometheusrule(ModelDeployment.model_validate({**raw, "spec": spec}))
    assert rule is not None
    found: list[Any] = EXPRESSIONS["read_alerts"](rule["spec"]["groups"])
    return found


@pytest.mark.parametrize("expression", [*EXPRESSIONS["read_dashboards"](), *alerts()], ids=lambda found: found.where)
def test_every_query_names_metrics_that_a_page_shows(expression: Any) -> None:
    names = expression.names()
    assert names
    assert {name for name in names if not name.startswith(("DCGM_", "ALERTS"))} <= shown()


def test_no_variable_of_grafana_is_left_in_a_query() -> None:
    for expression in EXPRESSIONS["read_dashboards"]():
        assert "$" not in expression.with_values(namespace="ns", model="m").replace('"$1"', "")


def test_a_panel_without_a_gpu_exporter_is_one_of_the_gpu_panels() -> None:
    needing = [found.where for found in EXPRESSIONS["read_dashboards"]() if found.needs_gpu_exporter]
    assert needing and all(" / GPU " in where for where in needing)


def test_every_alert_is_explained_in_the_how_to_and_no_other() -> None:
    told = (ROOT / "docs" / "how-to" / "monitoring.md").read_text(encoding="utf-8")
    chart = (ROOT / "helm" / "pagoda" / "templates" / "monitoring.yaml").read_text(encoding="utf-8")
    ours = {alert.where for alert in alerts()} | set(re.findall(r"alert: (\w+)", chart))
    assert set(re.findall(r"^\| `(Pagoda\w+)`", told, re.MULTILINE)) == ours


def test_no_two_metrics_of_a_pod_have_one_name() -> None:
    families = REFERENCE["all_families"]()
    names = [family.name for part in ("Gateway", "Server") for family in families[part]]
    assert len(names) == len(set(names))


def test_the_metric_reference_is_as_generated() -> None:
    written = (ROOT / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8")
    assert written == REFERENCE["write_reference"](), "run: python docs/reference/generate_metrics.py"
