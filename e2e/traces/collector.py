"""A real Jaeger and a real Prometheus as processes of this machine, and what they say when they are asked."""

import json
import os
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

Object = dict[str, Any]
Wait = Callable[..., Any]
HOME = Path(os.environ.get("CLUSTER_HOME", Path.home() / ".cache/pagoda-cluster"))
UNUSED = ("admin.http", "collector.grpc-server", "collector.http-server", "collector.otlp.grpc", "query.grpc-server")
"""Ports that Jaeger would else open to all."""


def find_free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def read(url: str, query: Mapping[str, str] = {}) -> Any:
    """The JSON at the URL; None while nobody answers."""
    try:
        with urllib.request.urlopen(f"{url}?{urlencode(query)}", timeout=10) as answer:
            return json.load(answer)
    except (urllib.error.URLError, ConnectionError):
        return None


@contextmanager
def running(command: list[str], log: Path, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A process until the end of the block."""
    with log.open("wb") as said:
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, **options)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=60)


@dataclass(frozen=True, slots=True)
class Span:
    name: str
    service: str
    trace_id: str
    span_id: str
    parent_id: str | None
    begun_us: int
    ended_us: int
    tags: Object
    events: tuple[str, ...]
    resource: Object

    def encloses(self, other: "Span", slack_us: int = 2000) -> bool:
        """Whether the other happened inside it, as far as two clocks of one machine agree."""
        return self.begun_us - slack_us <= other.begun_us and other.ended_us <= self.ended_us + slack_us


def build_span(raw: Object, processes: Object) -> Span:
    parents = [reference["spanID"] for reference in raw["references"] if reference["refType"] == "CHILD_OF"]
    process = processes[raw["processID"]]
    return Span(
        name=raw["operationName"],
        service=process["serviceName"],
        trace_id=raw["traceID"],
        span_id=raw["spanID"],
        parent_id=parents[0] if parents else None,
        begun_us=raw["startTime"],
        ended_us=raw["startTime"] + raw["duration"],
        tags={tag["key"]: tag["value"] for tag in raw["tags"]},
        events=tuple(field["value"] for log in raw["logs"] for field in log["fields"] if field["key"] == "event"),
        resource={tag["key"]: tag["value"] for tag in process["tags"]},
    )


@dataclass(frozen=True, slots=True)
class Jaeger:
    collector: str
    query: str

    @classmethod
    @contextmanager
    def start(cls, folder: Path, wait_for: Wait) -> Iterator["Jaeger"]:
        otlp, query = find_free_port(), find_free_port()
        ports = {**dict.fromkeys(UNUSED, 0), "collector.otlp.http": otlp, "query.http-server": query}
        flags = [f"--{name}.host-port=127.0.0.1:{port}" for name, port in ports.items()]
        with running([str(HOME / "bin" / "jaeger"), *flags], folder / "jaeger.log"):
            jaeger = cls(f"http://127.0.0.1:{otlp}", f"http://127.0.0.1:{query}")
            wait_for(lambda: read(f"{jaeger.query}/api/services"), 30, lambda: (folder / "jaeger.log").read_text())
            yield jaeger

    def find_trace(self, trace_id: str) -> list[Span]:
        """The spans that have come of a trace so far."""
        found = read(f"{self.query}/api/traces/{trace_id}")
        traces = found["data"] if found else []
        return [build_span(raw, trace["processes"]) for trace in traces for raw in trace["spans"]]


@contextmanager
def scraping(folder: Path, target: str, wait_for: Wait) -> Iterator[str]:
    """Prometheus with exemplars, once it has scraped the page at `target`; its URL."""
    port = find_free_port()
    job = {"job_name": "model", "static_configs": [{"targets": [target]}]}
    config = {"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": [job]}
    (folder / "prometheus.json").write_text(json.dumps(config))  # JSON is YAML
    command = [str(HOME / "bin" / "prometheus"), f"--config.file={folder}/prometheus.json"]
    command += [f"--storage.tsdb.path={folder}/data", f"--web.listen-address=127.0.0.1:{port}"]
    url = f"http://127.0.0.1:{port}"
    with running([*command, "--enable-feature=exemplar-storage"], folder / "prometheus.log"):

        def has_scraped() -> bool:
            answer = read(f"{url}/api/v1/targets") or {"data": {"activeTargets": []}}
            return any(one["health"] == "up" for one in answer["data"]["activeTargets"])

        wait_for(has_scraped, 30, lambda: read(f"{url}/api/v1/targets"))
        yield url
