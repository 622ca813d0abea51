"""Each reason is one constant with its meaning; none is only spelled, none is never given."""

import ast
import re
from pathlib import Path
from typing import get_args

import pytest

from pagoda_cli.fetch import model_uri
from pagoda_operator.api.reasons import Reason

ROOT = Path(__file__).parents[4]
SOURCES = [
    *(ROOT / "operator/pagoda_operator/plan").glob("*.py"),
    *(ROOT / "operator/pagoda_operator/controller").glob("*.py"),
]
ALSO_A_KIND_OF_CONDITION = {"Progressing", "ScalingActive", "Unschedulable"}
CLIENTS = ROOT / "docs/how-to/clients.md"
"""Names the classes of client libraries in the same form."""
HOW_TOS = sorted(set((ROOT / "docs/how-to").glob("*.md")) - {CLIENTS})
DOCUMENTS = [ROOT / "docs/what-happens-when.md", *HOW_TOS, ROOT / "docs/quickstart.md"]


@pytest.mark.parametrize("reason", Reason)
def test_a_reason_is_given_somewhere_and_says_what_it_means(reason: Reason) -> None:
    assert any(f"Reason.{reason.name}" in path.read_text() for path in SOURCES)
    assert re.fullmatch(r"[A-Z][A-Za-z]+", reason) and len(reason) <= 64
    assert reason.meaning.endswith(".") and "|" not in reason.meaning + reason.fix


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_a_reason_is_not_spelled_anew(path: Path) -> None:
    constants = {node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)}
    assert not (constants & set(map(str, Reason))) - ALSO_A_KIND_OF_CONDITION


def test_what_fetch_gives_as_a_reason_is_one() -> None:
    assert set(get_args(model_uri.Reason)) <= set(map(str, Reason))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_a_reason_that_the_documents_name_is_one(path: Path) -> None:
    named = re.findall(r"`((?!Pagoda)[A-Z][a-z]+(?:[A-Z][a-z]+)+)`", path.read_text())
    assert set(named) <= set(map(str, Reason))
