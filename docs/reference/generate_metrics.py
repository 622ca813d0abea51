"""Writes docs/reference/metrics.md from the pages themselves: `python docs/reference/generate_metrics.py`.

Every family is given a value first, so that its labels show. A test fails when the file is not what this writes.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from pagoda_gateway.settings import Address, Settings
from pagoda_gateway.sidecar import Sidecar
from pagoda_operator.metrics import MODEL_GAUGES
from pagoda_operator.metrics import Metrics as OperatorMetrics
from pagoda_server.histograms import Observed
from pagoda_server.http.metrics import ServerMetrics
from pagoda_server.http.model_labels import ModelLabels
from pagoda_server.http.tally import Tally
from pagoda_server.wire import Hello, Stats

TARGET = Path(__file__).parent / "metrics.md"
HEAD = """# Metrics

Written by `docs/reference/generate_metrics.py`; do not edit.

A pod of a model shows one page at `:8000/metrics`: the gateway's figures, then the server's. Every replica of the
operator shows its page at `:8080/metrics`. `vllm:*` are vLLM's names for the same figures, so that existing dashboards
work. Histograms have `_bucket`, `_sum` and `_count`; in OpenMetrics, which Prometheus asks for, those of requests have
[traces](../how-to/tracing.md) as exemplars.
How to scrape: [monitoring](../how-to/monitoring.md).
"""
STATS = Stats(
    ready=True,
    running=0,
    waiting=0,
    backlog_tokens=0,
    tokens_per_second=1.0,
    capacity_tokens_per_second=1.0,
    capacity_source="measured",
    free_pages=1,
    cached_pages=0,
    total_pages=1,
    preemptions=0,
    prompt_tokens=1,
    cached_prompt_tokens=0,
    generation_tokens=1,
    steps=1,
    distributions=Observed().snapshot(),
)
HELLO = Hello(256, 8, 199, [], "cpu", "float32", {"load_weights": 1.0})


@dataclass(frozen=True, slots=True)
class Family:
    name: str
    """As queries name it: counters with `_total`."""
    type: str
    labels: tuple[str, ...]
    text: str

    def samples(self) -> tuple[str, ...]:
        parts = ("bucket", "sum", "count") if self.type == "histogram" else ()
        return tuple(f"{self.name}_{part}" for part in parts) or (self.name,)


def operator_page() -> str:
    metrics = OperatorMetrics()
    metrics.set_model("ns", "model", dict.fromkeys(MODEL_GAUGES, 1.0))
    metrics.set_conditions("ns", "model", {"Ready": ("Serving", True)})
    metrics.reconciles.labels("ok").inc()
    metrics.api_calls.labels("get", "Pod", "200").inc()
    metrics.task_failures.labels("loads").inc()
    metrics.kind_readable.labels("apps/Deployment").set(1)
    metrics.certificate_expiration.labels("metrics_api").set(1)
    return generate_latest(metrics.registry).decode()


def gateway_page(folder: str) -> str:
    address = Address("127.0.0.1", 0)
    settings = Settings(
        listen=address,
        admin=address,
        upstream=Path("server.sock"),
        model_name="model",
        namespace="ns",
        model_deployment="model",
        max_queued=1,
        max_queued_tokens=1,
        max_wait_seconds=1,
        backlog_drain_seconds=1,
        batch_store=folder,
    )
    sidecar = Sidecar(settings)
    sidecar.connections.note_stalled()
    metrics = sidecar.metrics
    metrics.count_request(200, method="POST", path="/v1/completions", seconds=1.0)
    metrics.count_rejected("queue_full")
    metrics.count_check("weighed")
    metrics.count_spans("exported", 1)
    metrics.count_task_failure("server_watch")
    assert sidecar.batches is not None
    sidecar.batches.metrics.count_store_failure("look")
    return metrics.render().decode()


def server_page() -> str:
    labels = ModelLabels("model", "ns", "model")
    tally = Tally.build_single()
    tally.count_spans("exported", 1)
    metrics = ServerMetrics(labels, lambda: STATS, tally, lambda: HELLO)
    metrics.first_token(0.1)
    metrics.next_tokens(0.1, 1)
    metrics.finished("stop", 0.1)
    return metrics.render().decode()


def read_families(page: str) -> Iterator[Family]:
    for found in text_string_to_metric_families(page):
        if found.name.endswith("_created"):
            continue
        if not found.samples:
            raise ValueError(f"{found.name} has no value, so its labels are not known: give it one in {__file__}")
        labels = tuple(name for name in found.samples[0].labels if name != "le")
        name = f"{found.name}_total" if found.type == "counter" else found.name
        yield Family(name, found.type, labels, found.documentation)


def all_families() -> dict[str, list[Family]]:
    with TemporaryDirectory() as folder:
        pages = {"Operator": operator_page(), "Gateway": gateway_page(folder), "Server": server_page()}
    return {part: list(read_families(page)) for part, page in pages.items()}


def write_reference() -> str:
    lines = [HEAD]
    for part, families in all_families().items():
        lines += [f"## {part}\n", "| metric | type | labels | meaning |", "|---|---|---|---|"]
        for family in families:
            labels = ", ".join(f"`{label}`" for label in sorted(family.labels))
            lines.append(f"| `{family.name}` | {family.type} | {labels} | {family.text} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    TARGET.write_text(write_reference(), encoding="utf-8")
    print(f"wrote {TARGET.name}", file=sys.stderr)
