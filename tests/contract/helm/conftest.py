"""Renders the chart with the real helm for the tests beside it."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
CHART = ROOT / "helm" / "pagoda"


def find_helm() -> str | None:
    home = os.environ.get("CLUSTER_HOME")
    candidates = [Path(home) / "bin"] if home else []
    candidates.append(Path.home() / ".cache" / "pagoda-cluster" / "bin")
    for folder in candidates:
        if (folder / "helm").is_file():
            return str(folder / "helm")
    return shutil.which("helm")


def run_helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    helm = find_helm()
    if helm is None:
        pytest.fail(
            "helm is neither in $CLUSTER_HOME/bin nor in the PATH: run `make test`, which builds it, or install helm"
        )
    return subprocess.run([helm, *arguments], capture_output=True, text=True, check=False)


def render_chart(*settings: str) -> list[dict[str, Any]]:
    """The objects of `helm template` with `--set` for each of `settings`."""
    flags = [flag for setting in settings for flag in ("--set", setting)]
    result = run_helm("template", "rel", str(CHART), "--namespace", "pagoda-system", *flags)
    assert result.returncode == 0, result.stderr
    return [document for document in yaml.safe_load_all(result.stdout) if document]


@pytest.fixture
def helm() -> Callable[..., subprocess.CompletedProcess[str]]:
    return run_helm


@pytest.fixture
def render() -> Callable[..., list[dict[str, Any]]]:
    return render_chart
