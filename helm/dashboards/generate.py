"""Writes the Grafana dashboards of the chart: `python helm/dashboards/generate.py [DIRECTORY]`.

The JSON is checked in; a test runs this and compares. This file stays outside the chart so that it is not packaged.
"""

import json
import sys
from pathlib import Path
from typing import Any

Json = dict[str, Any]
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
ALL = '{namespace=~"$namespace",model_deployment=~"$model"}'
WIDTH = 24
HPA_REPLICAS = (
    "sum(kube_horizontalpodautoscaler_status_desired_replicas"
    '{namespace=~"$namespace",horizontalpodautoscaler=~"$model"})'
)


def target(expression: str, legend: str) -> Json:
    return {"datasource": DATASOURCE, "expr": expression, "legendFormat": legend}


def panel(kind: str, title: str, targets: list[Json], unit: str, width: int, height: int, description: str) -> Json:
    for index, item in enumerate(targets):
        item["refId"] = chr(ord("A") + index)
    return {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": DATASOURCE,
        "targets": targets,
        "gridPos": {"w": width, "h": height, "x": 0, "y": 0},
        "fieldConfig": {"defaults": {"unit": unit, "noValue": "No data", "min": 0}, "overrides": []},
    }


def stat(title: str, expression: str, unit: str, description: str, width: int = 4) -> Json:
    made = panel("stat", title, [target(expression, "")], unit, width, 4, description)
    made["options"] = {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value", "graphMode": "area"}
    return made


def graph(title: str, targets: list[Json], unit: str, description: str) -> Json:
    made = panel("timeseries", title, targets, unit, 12, 8, description)
    made["options"] = {
        "legend": {"displayMode": "table", "placement": "bottom", "calcs": ["mean", "lastNotNull", "max"]}
    }
    return made


def row(title: str) -> Json:
    return {
        "type": "row",
        "title": title,
        "collapsed": False,
        "panels": [],
        "gridPos": {"w": WIDTH, "h": 1, "x": 0, "y": 0},
    }


def quantile(fraction: float, metric: str, labels: str = ALL) -> str:
    return f"histogram_quantile({fraction}, sum by (le) (rate({metric}_bucket{labels}[$__rate_interval])))"


def place(panels: list[Json]) -> list[Json]:
    """Lay the panels out from left to right, a new line when the width is used up."""
    x = y = line_height = 0
    for index, item in enumerate(panels):
        size = item["gridPos"]
        if x + size["w"] > WIDTH:
            x, y, line_height = 0, y + line_height, 0
        size["x"], size["y"] = x, y
        x, line_height = x + size["w"], max(line_height, size["h"])
        item["id"] = index + 1
    return panels


def variable(name: str, query: str) -> Json:
    return {
        "name": name,
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "includeAll": True,
        "multi": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def dashboard(uid: str, title: str, panels: list[Json]) -> Json:
    return {
        "uid": uid,
        "title": title,
        "tags": ["pagoda"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "links": [{"type": "dashboards", "title": "Pagoda", "tags": ["pagoda"], "asDropdown": True, "keepTime": True}],
        "templating": {
            "list": [
                {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"},
                variable("namespace", "label_values(pagoda_model_replicas, namespace)"),
                variable("model", 'label_values(pagoda_model_replicas{namespace=~"$namespace"}, model_deployment)'),
            ]
        },
        "panels": place(panels),
    }


def build_fleet() -> Json:
    by = "{{namespace}}/{{model_deployment}}"
    model = "namespace, model_deployment"
    return dashboard(
        "pagoda-fleet",
        "Pagoda / Fleet",
        [
            stat("Models ready", f"sum(pagoda_model_ready{ALL})", "short", "Metric: `pagoda_model_ready`"),
            stat(
                "Models not ready",
                f"count(pagoda_model_ready{ALL} == 0) or vector(0)",
                "short",
                "Metric: `pagoda_model_ready`",
            ),
            stat(
                "Ready replicas",
                f"sum(pagoda_model_ready_replicas{ALL})",
                "short",
                "Metric: `pagoda_model_ready_replicas`",
            ),
            stat(
                "Tokens/s",
                f"sum(pagoda_model_tokens_per_second{ALL})",
                "short",
                "Metric: `pagoda_model_tokens_per_second`",
            ),
            stat(
                "Capacity used",
                f"sum(pagoda_model_tokens_per_second{ALL}) / sum(pagoda_model_capacity_tokens_per_second{ALL})",
                "percentunit",
                "Tokens served against the measured capacity. Metric: `pagoda_model_capacity_tokens_per_second`",
            ),
            stat(
                "Queued requests",
                f"sum(pagoda_model_queued_requests{ALL})",
                "short",
                "Metric: `pagoda_model_queued_requests`",
            ),
            row("Models"),
            graph(
                "Tokens/s",
                [target(f"sum by ({model}) (pagoda_model_tokens_per_second{ALL})", by)],
                "short",
                "Served tokens.",
            ),
            graph(
                "Demand against capacity",
                [
                    target(f"sum(pagoda_model_demand_tokens_per_second{ALL})", "demand"),
                    target(f"sum(pagoda_model_capacity_tokens_per_second{ALL})", "capacity"),
                ],
                "short",
                "Demand is served tokens/s plus the backlog divided by backlogDrainSeconds; the autoscaler follows it.",
            ),
            graph(
                "Queued requests",
                [target(f"sum by ({model}) (pagoda_model_queued_requests{ALL})", by)],
                "short",
                "Waiting requests.",
            ),
            graph(
                "Ready replicas",
                [target(f"sum by ({model}) (pagoda_model_ready_replicas{ALL})", by)],
                "short",
                "Replicas that answer.",
            ),
            row("GPUs"),
            graph(
                "GPU utilisation",
                [
                    target(
                        'avg by (Hostname, gpu) (DCGM_FI_DEV_GPU_UTIL{exported_namespace=~"$namespace"})',
                        "{{Hostname}} GPU {{gpu}}",
                    )
                ],
                "percent",
                "Needs NVIDIA's DCGM exporter. Metric: `DCGM_FI_DEV_GPU_UTIL`",
            ),
            graph(
                "GPU memory used",
                [
                    target(
                        'sum by (Hostname, gpu) (DCGM_FI_DEV_FB_USED{exported_namespace=~"$namespace"})',
                        "{{Hostname}} GPU {{gpu}}",
                    )
                ],
                "decmbytes",
                "Needs NVIDIA's DCGM exporter. Metric: `DCGM_FI_DEV_FB_USED`",
            ),
            row("Operator"),
            graph(
                "Reconciles/s",
                [
                    target("sum(rate(pagoda_operator_reconciles_total[$__rate_interval]))", "reconciles"),
                    target("sum(rate(pagoda_operator_errors_total[$__rate_interval]))", "errors"),
                    target("sum(rate(pagoda_operator_api_calls_total[$__rate_interval]))", "API calls"),
                ],
                "ops",
                "At rest there are no writes. Metric: `pagoda_operator_reconciles_total`",
            ),
            graph(
                "Reconcile time and queue",
                [
                    target(
                        quantile(0.95, "pagoda_operator_reconcile_duration_seconds", labels=""),
                        "reconcile p95",
                    ),
                    target(
                        quantile(0.95, "pagoda_operator_queue_latency_seconds", labels=""),
                        "waiting p95",
                    ),
                ],
                "s",
                "Metrics: `pagoda_operator_reconcile_duration_seconds`, `pagoda_operator_queue_latency_seconds`",
            ),
        ],
    )


def latency(title: str, metric: str) -> Json:
    targets = [target(quantile(fraction, metric), name) for fraction, name in ((0.5, "p50"), (0.95, "p95"))]
    return graph(title, targets, "s", f"Metric: `{metric}`")


def build_model() -> Json:
    pod = "{{pod}}"
    return dashboard(
        "pagoda-model",
        "Pagoda / Model",
        [
            stat(
                "Ready",
                f"min(pagoda_model_ready{ALL})",
                "short",
                "1 when all chosen models are ready. Metric: `pagoda_model_ready`",
            ),
            stat(
                "Tokens/s",
                f"sum(pagoda_server_tokens_per_second{ALL})",
                "short",
                "Metric: `pagoda_server_tokens_per_second`",
            ),
            stat("Demand", f"sum(pagoda_gateway_demand_tokens_per_second{ALL})", "short", "Tokens/s asked for."),
            stat(
                "Queued",
                f"sum(pagoda_gateway_queued_requests{ALL})",
                "short",
                "Metric: `pagoda_gateway_queued_requests`",
            ),
            stat(
                "TTFT p95", quantile(0.95, "pagoda_server_time_to_first_token_seconds"), "s", "Time to the first token."
            ),
            stat(
                "Inter-token p95",
                quantile(0.95, "pagoda_server_inter_token_latency_seconds"),
                "s",
                "Time between tokens.",
            ),
            row("Throughput"),
            graph(
                "Tokens/s against capacity",
                [
                    target(f"sum(pagoda_server_tokens_per_second{ALL})", "served"),
                    target(f"sum(pagoda_gateway_demand_tokens_per_second{ALL})", "demand"),
                    target(f"sum(pagoda_server_capacity_tokens_per_second{ALL})", "capacity"),
                ],
                "short",
                "Capacity is what the engines measured.",
            ),
            graph(
                "Prompt and generated tokens/s",
                [
                    target(f"sum(rate(pagoda_server_prompt_tokens_total{ALL}[$__rate_interval]))", "prompt"),
                    target(f"sum(rate(pagoda_server_generation_tokens_total{ALL}[$__rate_interval]))", "generated"),
                ],
                "short",
                "Metrics: `pagoda_server_prompt_tokens_total`, `pagoda_server_generation_tokens_total`",
            ),
            row("Latency"),
            latency("Time to first token", "pagoda_server_time_to_first_token_seconds"),
            latency("Inter-token latency", "pagoda_server_inter_token_latency_seconds"),
            latency("Whole request", "pagoda_server_e2e_request_latency_seconds"),
            latency("Time in the gateway's queue", "pagoda_gateway_queue_wait_seconds"),
            row("Queue and cache"),
            graph(
                "Requests",
                [
                    target(f"sum(pagoda_server_requests_running{ALL})", "running"),
                    target(f"sum(pagoda_server_requests_waiting{ALL})", "waiting in the engine"),
                    target(f"sum(pagoda_gateway_queued_requests{ALL})", "queued"),
                ],
                "short",
                "Metrics: `pagoda_server_requests_running`, `pagoda_gateway_queued_requests`",
            ),
            graph(
                "Requests/s and refusals/s",
                [
                    target(f"sum(rate(pagoda_gateway_requests_total{ALL}[$__rate_interval]))", "requests"),
                    target(f"sum(rate(pagoda_gateway_rejected_total{ALL}[$__rate_interval]))", "refused"),
                ],
                "reqps",
                "Metrics: `pagoda_gateway_requests_total`, `pagoda_gateway_rejected_total`",
            ),
            graph(
                "KV pages",
                [target(f"sum by (pod, state) (pagoda_server_kv_pages{ALL})", pod + " {{state}}")],
                "short",
                "By state.",
            ),
            graph(
                "Backlog",
                [target(f"sum by (pod) (pagoda_server_backlog_tokens{ALL})", pod)],
                "short",
                "Tokens still to be made.",
            ),
            row("Scaling"),
            graph(
                "Replicas",
                [
                    target(f"sum(pagoda_model_replicas{ALL})", "replicas"),
                    target(f"sum(pagoda_model_ready_replicas{ALL})", "ready"),
                    target(
                        HPA_REPLICAS,
                        "wanted by the HPA",
                    ),
                ],
                "short",
                "The HPA's line needs kube-state-metrics.",
            ),
            graph(
                "Draining pods",
                [target(f"sum(pagoda_gateway_draining{ALL})", "draining")],
                "short",
                "Metric: `pagoda_gateway_draining`",
            ),
        ],
    )


def write_dashboards(directory: Path) -> None:
    for name, built in (("fleet", build_fleet()), ("model", build_model())):
        (directory / f"{name}.json").write_text(json.dumps(built, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write_dashboards(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent.parent / "pagoda" / "dashboards")
