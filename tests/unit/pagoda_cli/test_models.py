"""Models that are kept here are listed with their sizes and removed; a URI is judged by what it holds."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pagoda_cli.fetch.model import fetch_model
from pagoda_cli.fetch.model_uri import FetchError
from pagoda_cli.local.generation import model_folder
from pagoda_cli.main import app
from pagoda_cli.models import check_uri, find_kept, list_models

TINY = "bundled://pagoda-tiny"
RUNNER = CliRunner()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def keep() -> Path:
    folder = model_folder(TINY)
    fetch_model(TINY, folder, lambda line: None)
    return folder


def test_shipped_kept_and_incomplete_models_are_listed() -> None:
    folder = keep()
    (folder.parent / "half").mkdir()
    found = [(model.uri, model.is_shipped, model.is_complete) for model in list_models()]
    assert found == [(TINY, True, True), (TINY, False, True), ("(incomplete) half", False, False)]
    assert list_models()[1].size_bytes > 1_000_000


def test_a_kept_model_is_removed_only_when_asked_or_told() -> None:
    folder = keep()
    refused = RUNNER.invoke(app, ["models", "rm", TINY])
    assert (refused.exit_code, folder.is_dir()) == (1, True)
    assert "give --yes" in refused.output
    assert RUNNER.invoke(app, ["models", "rm", TINY, "--yes"]).exit_code == 0
    assert not folder.exists()
    assert find_kept(TINY) is None


def test_what_is_not_kept_is_answered_with_what_is_like_it() -> None:
    keep()
    assert "did you mean bundled://pagoda-tiny?" in RUNNER.invoke(app, ["models", "rm", "bundled://pagoda-tyny"]).output


def test_a_model_that_is_served_is_said_to_be() -> None:
    verdict = check_uri(TINY)
    assert (verdict.model, verdict.problem) == ("LlamaForCausalLM, 6 layers", "")
    assert verdict.total_bytes == sum(size for _, size in verdict.files)


def test_a_model_that_is_not_served_says_why(tmp_path: Path) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"architectures": ["GPT2LMHeadModel"]}))
    (folder / "model.safetensors").write_bytes(b"x" * 10)
    result = RUNNER.invoke(app, ["models", "check", f"file://{folder}"])
    assert result.exit_code == 1
    assert "not served: " in result.output
    assert "GPT2LMHeadModel" in result.output


def test_a_model_that_is_not_there_is_an_error() -> None:
    with pytest.raises(FetchError, match="ModelNotFound"):
        check_uri("bundled://none")
