"""What is shipped is small, answers well, and is described by what was measured."""

import json
from typing import Any

import pytest

from sample_model import cases, report
from sample_model.rendering import TEMPLATE

MODEL = TEMPLATE.parent
LARGEST_BYTES = 10_000_000
ACCURACY_FLOOR = 0.9
TOOL_KINDS = ("call", "two calls", "answer from a result", "no call", "sum with thinking")


@pytest.fixture(scope="module")
def measured() -> dict[str, dict[str, float]]:
    pytest.importorskip("transformers")
    from sample_model import evaluate

    return evaluate.measure(*evaluate.load(MODEL, "cpu"), cases.build_cases(11, 12), batch_size=64)


def test_it_is_small() -> None:
    assert sum(path.stat().st_size for path in MODEL.iterdir()) <= LARGEST_BYTES


def test_it_answers_unseen_questions(measured: Any) -> None:
    assert measured["all"]["n"] >= 110
    assert measured["all"]["accuracy"] >= ACCURACY_FLOOR, measured


def test_it_calls_unseen_tools_and_uses_their_results(measured: Any) -> None:
    right = sum(measured[kind]["accuracy"] * measured[kind]["n"] for kind in TOOL_KINDS)
    asked = sum(measured[kind]["n"] for kind in TOOL_KINDS)
    assert right / asked >= ACCURACY_FLOOR, measured


def test_the_readme_states_what_was_measured() -> None:
    evaluation = json.loads(report.EVALUATION.read_text())
    assert set(evaluation) == set(report.KINDS)
    assert report.render_table(evaluation) in report.README.read_text()
