"""Prometheus's own judge of rules: series go in, and it says which alerts fire."""

import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

Object = dict[str, Any]
FIRING = 'count by (alertname, severity) (ALERTS{alertstate="firing"})'


def find_promtool() -> str:
    home = Path(os.environ.get("CLUSTER_HOME", Path.home() / ".cache" / "pagoda-cluster"))
    built = home / "bin" / "promtool"
    found = str(built) if built.is_file() else shutil.which("promtool")
    if found is None:
        pytest.fail("promtool is neither in $CLUSTER_HOME/bin nor in the PATH: run `make test`, which builds it")
    return found


@dataclass(frozen=True, slots=True)
class Rules:
    path: Path

    def check(self) -> None:
        self._run("check", "rules", "--lint=all", "--lint-fatal", str(self.path))

    def expect(
        self,
        series: Mapping[str, str],
        firing: Iterable[tuple[str, str]] = (),
        *,
        at: str = "40m",
        every: str = "1m",
        **more: Any,
    ) -> None:
        """Asserts that with these series exactly these alerts, each of a severity, fire at that time.

        The series have a value each minute; the rules are evaluated `every` so often.
        """
        samples = [{"labels": f'{{alertname="{name}",severity="{severity}"}}', "value": 1} for name, severity in firing]
        asked = {"expr": FIRING, "eval_time": at, "exp_samples": samples}
        inputs = [{"series": name, "values": values} for name, values in series.items()]
        test = {"interval": "1m", "input_series": inputs, "promql_expr_test": [asked], **more}
        case = self.path.with_name("case.yaml")
        tests = {"rule_files": [str(self.path)], "evaluation_interval": every, "tests": [test]}
        case.write_text(yaml.safe_dump(tests))
        self._run("test", "rules", str(case))

    def _run(self, *arguments: str) -> None:
        done = subprocess.run([find_promtool(), *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def write_rules(folder: Path, groups: list[Object]) -> Rules:
    path = folder / "rules.yaml"
    path.write_text(yaml.safe_dump({"groups": groups}))
    return Rules(path)
