"""A person follows one request from its client to the engine's steps, and from a slow bucket to its trace.

The processes are those of a pod, which `pagoda run` starts from a ModelDeployment; the collector is a Jaeger, the
scraper a Prometheus. It needs no cluster.
"""

import json
import os
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from .collector import HOME, Jaeger, Object, Span, Wait, find_free_port, read, running, scraping

pytestmark = pytest.mark.full
ROOT = Path(__file__).parents[2]
CLIENT_TRACE, CLIENT_SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{CLIENT_TRACE}-{CLIENT_SPAN}-01"
NAME = "POST /v1/chat/completions"
EVER = {"start": "0", "end": "4000000000"}
PROMPT = "Tell me a story about a fox that nobody may read of."
YAML = """apiVersion: pagoda.dev/v1alpha1
kind: ModelDeployment
metadata: {{name: traced, namespace: e2e}}
spec:
  model: {{uri: "bundled://pagoda-tiny"}}
  tracing: {tracing}
"""


@dataclass(frozen=True, slots=True)
class Model:
    url: str
    folder: Path
    """Where `pagoda run` keeps what it makes; short, for sockets are in it."""

    def read_logs(self) -> str:
        """What gateway and server logged."""
        return "".join(path.read_text() for path in self.folder.rglob("*.log"))

    def ask(self, *, traceparent: str | None = None, max_tokens: int = 24, stream: bool = True) -> bytes:
        body = {"model": "traced", "max_tokens": max_tokens, "stream": stream, "ignore_eos": True}
        body["messages"] = [{"role": "user", "content": PROMPT}]
        headers = {"Content-Type": "application/json"} | ({"traceparent": traceparent} if traceparent else {})
        request = urllib.request.Request(f"{self.url}/v1/chat/completions", json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=120) as answer:
            assert answer.status == 200
            return bytes(answer.read())


@contextmanager
def serving(folder: Path, tracing: Object, wait_for: Wait) -> Iterator[Model]:
    port = find_free_port()
    file, log = folder / "model.yaml", folder / "pagoda.log"
    file.write_text(YAML.format(tracing=json.dumps(tracing)))
    paths = [str(ROOT / "operator"), str(ROOT / "server_image"), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), "PYTHONPATH": ":".join(paths)}
    command = [sys.executable, "-m", "pagoda_cli.main", "run", str(file), "--port", str(port)]
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as short,
        running(command, log, env={**environment, "TMPDIR": short}, cwd=folder),
    ):
        model = Model(f"http://127.0.0.1:{port}", Path(short))
        wait_for(lambda: " Ready " in log.read_text(), 180, lambda: log.read_text() + model.read_logs())
        yield model


@pytest.fixture
def jaeger(tmp_path: Path, wait_for: Wait) -> Iterator[Jaeger]:
    if not (HOME / "bin" / "jaeger").exists():
        pytest.fail("there is no jaeger: run e2e/cluster/build.sh full")
    with Jaeger.start(tmp_path, wait_for) as started:
        yield started


def one(spans: list[Span], name: str, kind: str = "internal", service: str = "") -> Span:
    named = [span for span in spans if span.name == name and service in ("", span.service)]
    (found,) = [span for span in named if span.tags.get("span.kind", "internal") == kind]
    return found


def test_one_trace_goes_from_the_client_to_the_engines_steps(jaeger: Jaeger, tmp_path: Path, wait_for: Wait) -> None:
    with serving(tmp_path, {"endpoint": jaeger.collector, "samplingRatio": 1}, wait_for) as model:
        assert model.ask(traceparent=TRACEPARENT).endswith(b"data: [DONE]\n\n")
        wait_for(lambda: len(jaeger.find_trace(CLIENT_TRACE)) >= 7, 20, lambda: jaeger.find_trace(CLIENT_TRACE))
        spans = jaeger.find_trace(CLIENT_TRACE)
    gateway, server = (one(spans, NAME, "server", f"pagoda-{service}") for service in ("gateway", "server"))
    called, queue = one(spans, NAME, "client"), one(spans, "queue")
    engine = [one(spans, name) for name in ("engine queue", "prefill", "decode")]
    assert gateway.parent_id == CLIENT_SPAN, "the client's context goes on"
    assert queue.parent_id == called.parent_id == gateway.span_id
    assert server.parent_id == called.span_id
    assert {span.parent_id for span in engine} == {server.span_id}
    assert len(spans) == 7
    for outer, inner in ((gateway, queue), (gateway, called), (called, server), *((server, span) for span in engine)):
        assert outer.encloses(inner), (outer, inner)
    waited, prefill, decode = engine
    assert waited.ended_us <= prefill.begun_us + 1 and prefill.ended_us <= decode.begun_us + 1
    assert decode.events == ("first token",)
    assert "first token" in server.events
    assert decode.tags["gen_ai.usage.output_tokens"] == server.tags["gen_ai.usage.output_tokens"] == 24
    assert decode.tags["pagoda.engine.steps"] >= 23
    assert server.tags["gen_ai.request.max_tokens"] == 24
    assert json.loads(server.tags["gen_ai.response.finish_reasons"]) == ["length"]
    for span in (gateway, server):
        assert span.resource["k8s.namespace.name"] == "e2e"
        assert span.resource["service.version"] and "$" not in span.resource["k8s.pod.name"]
        assert span.resource["service.instance.id"].startswith(span.resource["k8s.pod.name"] + "/")
    assert PROMPT.split()[-1] not in str(spans) and "fox" not in str(spans)


def test_a_bucket_of_prometheus_names_a_trace_that_jaeger_has(jaeger: Jaeger, tmp_path: Path, wait_for: Wait) -> None:
    with (
        serving(tmp_path, {"endpoint": jaeger.collector, "samplingRatio": 1}, wait_for) as model,
        scraping(tmp_path, model.url.removeprefix("http://"), wait_for) as prometheus,
    ):
        # NB: tokens that come in one piece have no gaps between them
        wait_for(lambda: model.ask().count(b'"content"') > 3, 120, "an answer comes in several pieces")
        for name in (
            "pagoda_gateway_queue_wait_seconds",
            "pagoda_gateway_time_to_first_byte_seconds",
            "pagoda_server_time_to_first_token_seconds",
            "pagoda_server_inter_token_latency_seconds",
            "pagoda_server_e2e_request_latency_seconds",
        ):
            find = partial(read, f"{prometheus}/api/v1/query_exemplars", {**EVER, "query": f"{name}_bucket"})
            found = wait_for(lambda find=find: find()["data"], 20, f"exemplars of {name}")
            trace_id = found[0]["exemplars"][0]["labels"]["trace_id"]
            wait_for(partial(jaeger.find_trace, trace_id), 20, f"the trace of {name}")


def test_a_collector_that_is_away_harms_no_answer(tmp_path: Path, wait_for: Wait) -> None:
    tracing = {"endpoint": f"http://127.0.0.1:{find_free_port()}", "samplingRatio": 1}
    with serving(tmp_path, tracing, wait_for) as model:
        for _ in range(20):
            assert model.ask().endswith(b"data: [DONE]\n\n")

        def failed() -> bool:
            page = urllib.request.urlopen(f"{model.url}/metrics", timeout=10).read().decode()
            counted = [line for line in page.splitlines() if "_spans_total{" in line and 'outcome="failed"' in line]
            return len(counted) == 2

        wait_for(failed, 30, "failed spans of gateway and server are counted")
        logs = model.read_logs()
    assert logs.count("traces cannot be sent") == 2, "gateway and server say it once"
    assert "Traceback" not in logs
