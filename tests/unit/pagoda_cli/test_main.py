"""The commands themselves: exit codes, and that they start without what they do not need."""

import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner

from pagoda_cli.main import app

RUNNER = CliRunner()


def test_failed_fetch_exits_1_with_the_reason(tmp_path: Path) -> None:
    result = RUNNER.invoke(app, ["fetch", "bundled://no-such-model", str(tmp_path)])
    assert result.exit_code == 1
    assert "ModelNotFound: URI bundled://no-such-model" in result.output


def test_bad_file_exits_1_with_the_field(tmp_path: Path) -> None:
    file = tmp_path / "m.yaml"
    file.write_text("apiVersion: pagoda.dev/v1alpha1\nkind: ModelDeployment\nmetadata: {name: a}\nspec: {}\n")
    result = RUNNER.invoke(app, ["run", str(file)])
    assert result.exit_code == 1
    assert "spec.model: is missing: add it" in result.output


def test_contradicting_options_are_refused(tmp_path: Path) -> None:
    assert RUNNER.invoke(app, ["run", "x.yaml", "--chat", "--ask", "hello"]).exit_code == 1
    assert RUNNER.invoke(app, ["run", "x.yaml", "--once"]).exit_code == 1
    refused = RUNNER.invoke(app, ["run", "-", "--chat"])
    assert (refused.exit_code, refused.output[:6]) == (1, "--chat")


def test_crds_check_tells_a_changed_file(tmp_path: Path) -> None:
    assert RUNNER.invoke(app, ["crds", "--out", str(tmp_path)]).exit_code == 0
    assert RUNNER.invoke(app, ["crds", "--out", str(tmp_path), "--check"]).exit_code == 0
    (file,) = tmp_path.glob("*.yaml")
    file.write_text("changed")
    result = RUNNER.invoke(app, ["crds", "--out", str(tmp_path), "--check"])
    assert result.exit_code == 1
    assert file.name in result.output


def test_the_operators_help_is_its_own() -> None:
    command = [sys.executable, "-m", "pagoda_cli.main", "operator"]
    assert "--metrics-api-port" in subprocess.check_output([*command, "--help"], text=True)
    bad = subprocess.run([*command, "--workers", "0"], capture_output=True, text=True, check=False)
    assert bad.returncode == 2 and "workers" in bad.stderr


def test_version_is_printed() -> None:
    assert RUNNER.invoke(app, ["version"]).output.strip()


def test_help_imports_nothing_heavy() -> None:
    code = "import sys, pagoda_cli.main; print(sorted({'torch','kopf','pydantic','aiohttp'} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
