"""A real Prometheus, asked over its HTTP API from wherever it can be reached."""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]
SELECTORS = ("vectorSelector", "matrixSelector")
OURS = ("__name__", "namespace", "model_deployment")


@dataclass(frozen=True, slots=True)
class Prometheus:
    url: str
    run: Callable[..., str]
    """Runs a command where `url` can be reached, and gives its output."""

    def _get(self, path: str, **query: str) -> Any:
        fields = [part for key, value in query.items() for part in ("--data-urlencode", f"{key}={value}")]
        answer: Object = json.loads(self.run("curl", "-sS", "--noproxy", "*", "-G", f"{self.url}{path}", *fields))
        assert answer["status"] == "success", f"{path} {query}: {answer.get('error')}"
        return answer["data"]

    def answers(self) -> bool:
        look = ("curl", "-s", "--noproxy", "*", f"{self.url}/api/v1/status/config")
        return '"success"' in self.run(*look, check=False)

    def names(self) -> set[str]:
        """The families that the scraped pages declare."""
        return set(self._get("/api/v1/metadata"))

    def has_data(self, expression: str) -> bool:
        """Whether the query gives at least one number."""
        found = self._get("/api/v1/query", query=expression)["result"]
        return any(not math.isnan(float(sample["value"][1])) for sample in found)

    def query(self, expression: str, at: float) -> Any:
        return self._get("/api/v1/query", query=expression, time=f"{at:.3f}")

    def query_range(self, expression: str, start: float, end: float, step: int) -> Any:
        return self._get(
            "/api/v1/query_range", query=expression, start=f"{start:.3f}", end=f"{end:.3f}", step=str(step)
        )

    def selectors(self, expression: str) -> list[str]:
        """The series that the expression reads, whatever it compares them with, and whichever status or reason."""
        tree = self._get("/api/v1/parse_query", query=expression)
        return [_write(node["matchers"]) for node in _walk(tree) if node.get("type") in SELECTORS]


def _walk(node: Any) -> Iterator[Object]:
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _walk(child)


def _write(matchers: list[Object]) -> str:
    parts = [f"{m['name']}{m['type']}{json.dumps(m['value'])}" for m in matchers if m["name"] in OURS]
    return f"{{{','.join(parts)}}}"
