"""What we tell people to query is what the pages show."""

import runpy
from pathlib import Path
from typing import Any

import pytest

from tests.contract.alerts.rules import build_all_rules

ROOT = Path(__file__).parents[3]
REFERENCE = runpy.run_path(str(ROOT / "docs" / "reference" / "generate_metrics.py"))
EXPRESSIONS = runpy.run_path(str(ROOT / "e2e" / "dashboards" / "expressions.py"))


def shown() -> set[str]:
    families = [family for part in REFERENCE["all_families"]().values() for family in part]
    return {name for family in families for name in family.samples()}


def rules() -> list[Any]:
    found: list[Any] = EXPRESSIONS["read_rules"]([{"rules": build_all_rules()}])
    return found


@pytest.mark.parametrize("expression", [*EXPRESSIONS["read_dashboards"](), *rules()], ids=lambda found: found.where)
def test_every_query_names_metrics_that_a_page_shows(expression: Any) -> None:
    names = expression.names()
    assert names or expression.where.endswith("Objective"), "only these read what other rules record"
    assert {name for name in names if not name.startswith(("DCGM_", "ALERTS"))} <= shown()


def test_no_variable_of_grafana_is_left_in_a_query() -> None:
    for expression in EXPRESSIONS["read_dashboards"]():
        assert "$" not in expression.with_values(namespace="ns", model="m").replace('"$1"', "")


def test_a_panel_without_a_gpu_exporter_is_one_of_the_gpu_panels() -> None:
    needing = [found.where for found in EXPRESSIONS["read_dashboards"]() if found.needs_gpu_exporter]
    assert needing and all(" / GPU " in where for where in needing)


def test_no_two_metrics_of_a_pod_have_one_name() -> None:
    families = REFERENCE["all_families"]()
    names = [family.name for part in ("Gateway", "Server") for family in families[part]]
    assert len(names) == len(set(names))


def test_the_metric_reference_is_as_generated() -> None:
    written = (ROOT / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8")
    assert written == REFERENCE["write_reference"](), "run: python docs/reference/generate_metrics.py"
