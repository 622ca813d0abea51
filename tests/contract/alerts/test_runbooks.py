"""Whoever gets an alert finds the page that says what to do; and no page is of an alert that is gone."""

import re
from pathlib import Path
from typing import Any

import pytest

from pagoda_operator.api.documents import DOCS_URL, build_runbook_url

from .rules import build_all_rules

ROOT = Path(__file__).parents[3]
RUNBOOKS = ROOT / "docs" / "runbooks"
PAGES = {path.stem: path.read_text(encoding="utf-8") for path in RUNBOOKS.glob("*.md") if path.name != "index.md"}
ALERTS: list[dict[str, Any]] = [rule for rule in build_all_rules() if "alert" in rule]
RECORDED = {rule["record"] for rule in build_all_rules() if "record" in rule}


def test_every_alert_has_a_page_and_every_page_an_alert() -> None:
    assert {alert["alert"] for alert in ALERTS} == set(PAGES)


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: f"{alert['alert']}-{alert['labels']['severity']}")
def test_an_alert_leads_to_its_page_and_has_a_severity_and_words(alert: dict[str, Any]) -> None:
    url = build_runbook_url(alert["alert"])
    assert alert["annotations"]["runbook_url"] == url
    assert (ROOT / "docs" / url.removeprefix(f"{DOCS_URL}/")).is_file()
    assert alert["for"] and alert["labels"]["severity"] in ("critical", "warning")
    assert min(len(alert["annotations"][words]) for words in ("summary", "description")) > 20


def test_the_index_lists_every_alert_with_its_severity() -> None:
    rows = re.findall(r"^\| \[(\w+)\]\((\w+)\.md\) \| ([\w ]+) \|", (RUNBOOKS / "index.md").read_text(), re.MULTILINE)
    severities: dict[str, set[str]] = {}
    for alert in ALERTS:
        severities.setdefault(alert["alert"], set()).add(alert["labels"]["severity"])
    assert {name: set(said.split(" or ")) for name, page, said in rows if name == page} == severities


@pytest.mark.parametrize("name", PAGES)
def test_a_page_says_what_it_means_whom_it_hurts_where_to_look_and_what_to_do(name: str) -> None:
    page = PAGES[name]
    assert page.startswith(f"# {name}\n\n")
    for part in ("**Impact.** ", "## Look at\n\n```", "## Causes\n\n| cause | do |"):
        assert part in page


def test_a_page_queries_only_series_that_are_recorded() -> None:
    named = {name for page in PAGES.values() for name in re.findall(r"model_deployment:[\w:]+", page)}
    assert named and named <= RECORDED
