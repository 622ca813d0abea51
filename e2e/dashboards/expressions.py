"""Every PromQL expression that we hand out: those of the dashboards and those of the alerts.

The test of the names (tests/contract/metrics) and the story on a real Prometheus read them from here.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Object = dict[str, Any]
DASHBOARDS = Path(__file__).parents[2] / "helm" / "pagoda" / "dashboards"
METRIC = re.compile(r"(?<![\w:])(?:(?:pagoda|process|kube|DCGM)_\w+|vllm:\w+|ALERTS\b)")
"""NB: not what a rule of ours records, which has a level in front: `model_deployment:pagoda_…`."""
VARIABLE = re.compile(r"\$\{?([A-Za-z_]\w*)")
_WITH_BRACES = re.compile(VARIABLE.pattern + r"\}?")
DEFAULTS = {
    "__rate_interval": "1m",
    "__range": "1h",
    "namespace": ".*",
    "model": ".*",
    "pod": ".*",
    "operator": ".*",
    "ttft_objective": "2.5",
    "gap_objective": "0.1",
}
"""What Grafana would put in; `.*` is what our variables mean by All."""
LABEL_VALUES = re.compile(r"label_values\((?P<series>.*), \w+\)")


@dataclass(frozen=True, slots=True)
class Expression:
    where: str
    """The dashboard and its panel, or the alert."""
    text: str

    @property
    def needs_gpu_exporter(self) -> bool:
        return "DCGM_" in self.text

    @property
    def needs_an_event(self) -> bool:
        """Whether it has no series until something happens: a roll-out, say, or a task that fails."""
        return " / annotation " in self.where or "task_failures" in self.text

    def names(self) -> set[str]:
        """The metrics it reads."""
        return set(METRIC.findall(self.text))

    def with_values(self, **values: str) -> str:
        """The expression as Grafana would send it: `$namespace` and the like replaced."""
        return _WITH_BRACES.sub(lambda found: (DEFAULTS | values)[found[1]], self.text)


def read_dashboards() -> list[Expression]:
    paths = sorted(DASHBOARDS.glob("*.json"))
    return [found for path in paths for found in _read_dashboard(json.loads(path.read_text(encoding="utf-8")))]


def walk_panels(dashboard: Object) -> Iterator[Object]:
    """Yields every panel, those of closed rows too."""
    for panel in dashboard["panels"]:
        yield panel
        yield from panel.get("panels", [])


def read_rules(groups: Iterable[Object]) -> list[Expression]:
    """Returns the expressions of a PrometheusRule's groups: alerts, and series that are recorded for them."""
    rules = [rule for group in groups for rule in group["rules"]]
    return [Expression(rule.get("alert") or rule["record"], rule["expr"]) for rule in rules]


def _read_dashboard(dashboard: Object) -> Iterator[Expression]:
    for panel in walk_panels(dashboard):
        for target in panel.get("targets", []):
            yield Expression(f"{dashboard['title']} / {panel['title']} / {target['refId']}", target["expr"])
    for annotation in dashboard["annotations"]["list"]:
        yield Expression(f"{dashboard['title']} / annotation {annotation['name']}", annotation["expr"])
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query" and (asked := LABEL_VALUES.fullmatch(variable["query"]["query"])):
            yield Expression(f"{dashboard['title']} / ${variable['name']}", asked["series"])
