"""Writes the Grafana dashboards of the chart: `python helm/dashboards/generate.py [DIRECTORY]`.

The JSON is checked in; tests compare it with this, and run every query on a real Prometheus (e2e/dashboards). This
file stays outside the chart so that it is not packaged. It writes plain JSON on purpose: grafana-foundation-sdk gives
targets no refId and panels no id, so that as much code would stay, beside one more dependency.
"""

import json
import sys
from pathlib import Path
from typing import Any

Json = dict[str, Any]
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
CHOSEN = '{namespace=~"$namespace",model_deployment=~"$model"}'
GPU = '{exported_namespace=~"$namespace",exported_pod=~"$model-.*"}'
MODEL = "namespace, model_deployment"
EACH_MODEL = "{{namespace}}/{{model_deployment}}"
EACH_POD = "{{namespace}}/{{pod}}"
WIDTH = 24
TTFT = "server_time_to_first_token_seconds"
ITL = "server_inter_token_latency_seconds"
DCGM = "Needs NVIDIA's DCGM exporter."


def model(name: str) -> str:
    """A series of the operator, once a model. NB: every replica of the operator shows it, so never by `sum`."""
    return f"max by ({MODEL}) (pagoda_model_{name}{CHOSEN})"


def capacity() -> str:
    return f"{model('capacity_tokens_per_second')} * {model('ready_replicas')}"


def pods(name: str, by: str = "") -> str:
    return f"sum{by and f' by ({by}) '}(pagoda_{name}{CHOSEN})"


def demand() -> str:
    """Sums over the pods that know it: a gateway whose server went silent shows NaN, which would hide the rest."""
    return f"sum(pagoda_gateway_demand_tokens_per_second{CHOSEN} >= 0)"


def rate(name: str, by: str = "", labels: str = CHOSEN) -> str:
    return f"sum{by and f' by ({by}) '}(rate(pagoda_{name}_total{labels}[$__rate_interval]))"


def quantile(fraction: float, name: str, by: str = "le", labels: str = CHOSEN) -> str:
    return f"histogram_quantile({fraction}, sum by ({by}) (rate(pagoda_{name}_bucket{labels}[$__rate_interval])))"


def panel(kind: str, title: str, about: str, unit: str, size: tuple[int, int], queries: dict[str, str]) -> Json:
    return {
        "type": kind,
        "title": title,
        "description": about,
        "datasource": DATASOURCE,
        "targets": [
            {"refId": chr(ord("A") + index), "datasource": DATASOURCE, "expr": query, "legendFormat": legend}
            for index, (legend, query) in enumerate(queries.items())
        ],
        "gridPos": {"w": size[0], "h": size[1], "x": 0, "y": 0},
        "fieldConfig": {"defaults": {"unit": unit, "noValue": "No data", "min": 0}, "overrides": []},
    }


def stat(title: str, about: str, query: str, unit: str = "short") -> Json:
    made = panel("stat", title, about, unit, (4, 4), {"": query})
    return {**made, "options": {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value", "graphMode": "area"}}


def graph(title: str, about: str, unit: str, queries: dict[str, str]) -> Json:
    made = panel("timeseries", title, about, unit, (12, 8), queries)
    legend = {"displayMode": "table", "placement": "bottom", "calcs": ["mean", "lastNotNull", "max"]}
    return {**made, "options": {"legend": legend}}


def latency(title: str, about: str, name: str) -> Json:
    return graph(title, about, "s", {"p50": quantile(0.5, name), "p95": quantile(0.95, name)})


def row(title: str) -> Json:
    place = {"w": WIDTH, "h": 1, "x": 0, "y": 0}
    return {"type": "row", "title": title, "collapsed": False, "panels": [], "gridPos": place}


def place(panels: list[Json]) -> list[Json]:
    """Lays the panels out from left to right, a new line when the width is used up."""
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
    made = {"name": name, "type": "query", "datasource": DATASOURCE, "query": {"query": query, "refId": name}}
    everything = {"text": "All", "value": "$__all"}
    return {**made, "refresh": 2, "includeAll": True, "multi": True, "allValue": ".*", "current": everything}


def gpus(legend: str, by: str) -> list[Json]:
    """NB: the exporter's own `namespace` is where it runs; the pod that uses the GPU is in `exported_*`."""
    used = {f"{legend} GPU {{{{gpu}}}}": f"avg by ({by}, gpu) (DCGM_FI_DEV_GPU_UTIL{GPU})"}
    memory = {f"{legend} GPU {{{{gpu}}}}": f"sum by ({by}, gpu) (DCGM_FI_DEV_FB_USED{GPU})"}
    return [graph("GPU utilisation", DCGM, "percent", used), graph("GPU memory used", DCGM, "decmbytes", memory)]


def dashboard(uid: str, title: str, panels: list[Json]) -> Json:
    variables = [
        {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"},
        variable("namespace", "label_values(pagoda_model_replicas, namespace)"),
        variable("model", 'label_values(pagoda_model_replicas{namespace=~"$namespace"}, model_deployment)'),
    ]
    link = {"type": "dashboards", "title": "Pagoda", "tags": ["pagoda"], "asDropdown": True, "keepTime": True}
    return {
        "uid": uid,
        "title": title,
        "tags": ["pagoda"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "links": [link],
        "templating": {"list": variables},
        "panels": place(panels),
    }


FLEET = [
    stat("Models ready", "Their condition Ready is true.", f"sum({model('ready')})"),
    stat("Models not ready", "Describe them: the condition says why.", f"count({model('ready')} == 0) or vector(0)"),
    stat("Ready replicas", "Pods that answer.", f"sum({model('ready_replicas')})"),
    stat("Tokens/s", "Prompt and answer tokens.", f"sum({model('tokens_per_second')})"),
    stat(
        "Capacity used",
        "Tokens served against what the ready replicas can serve.",
        f"sum({model('tokens_per_second')}) / sum({capacity()})",
        "percentunit",
    ),
    stat("Queued requests", "They wait for a slot in the gateways.", f"sum({model('queued_requests')})"),
    row("Models"),
    graph("Tokens/s", "Served, by model.", "short", {EACH_MODEL: model("tokens_per_second")}),
    graph(
        "Demand against capacity",
        "Demand is tokens/s served, plus the backlog divided by backlogDrainSeconds: what the autoscaler follows.",
        "short",
        {"demand": f"sum({model('demand_tokens_per_second')})", "capacity": f"sum({capacity()})"},
    ),
    graph("Queued requests", "By model.", "short", {EACH_MODEL: model("queued_requests")}),
    graph(
        "Refused requests/s", "By the gateways, for any reason.", "reqps", {EACH_MODEL: rate("gateway_rejected", MODEL)}
    ),
    graph(
        "Time to first token, p95", "In the server, by model.", "s", {EACH_MODEL: quantile(0.95, TTFT, f"{MODEL}, le")}
    ),
    graph("Inter-token latency, p95", "By model.", "s", {EACH_MODEL: quantile(0.95, ITL, f"{MODEL}, le")}),
    row("Autoscaling"),
    graph("Ready replicas", "By model.", "short", {EACH_MODEL: model("ready_replicas")}),
    graph("Replicas the HPA asks for", "By autoscaled model.", "short", {EACH_MODEL: model("hpa_desired_replicas")}),
    graph(
        "Room to scale",
        "maxReplicas minus what the HPA asks for: at 0 a model cannot grow.",
        "short",
        {EACH_MODEL: f"{model('hpa_max_replicas')} - {model('hpa_desired_replicas')}"},
    ),
    graph("Scaling works", "1 while the HPA has its metric.", "short", {EACH_MODEL: model("scaling_active")}),
    row("GPUs"),
    *gpus("{{Hostname}}", "Hostname"),
    row("Operator"),
    graph(
        "Reconciles/s and API calls/s",
        "At rest the calls are the Lease's renewals.",
        "ops",
        {
            "reconciles": rate("operator_reconciles", labels=""),
            "errors": rate("operator_errors", labels=""),
            "API calls": rate("operator_api_calls", labels=""),
        },
    ),
    graph(
        "Reconcile time and queue, p95",
        "How long a change waits, and how long it takes.",
        "s",
        {
            "reconcile": quantile(0.95, "operator_reconcile_duration_seconds", labels=""),
            "waiting": quantile(0.95, "operator_queue_latency_seconds", labels=""),
        },
    ),
]
MODEL_PANELS = [
    stat("Ready", "1 when all chosen models are ready.", f"min({model('ready')})"),
    stat("Tokens/s", "Prompt and answer tokens.", pods("server_tokens_per_second")),
    stat("Demand", "Tokens/s asked for: served, and the backlog.", demand()),
    stat("Queued", "Requests that wait in the gateways.", pods("gateway_queued_requests")),
    stat("TTFT p95", "Time to the first token, in the server.", quantile(0.95, TTFT), "s"),
    stat("Inter-token p95", "Time between two tokens.", quantile(0.95, ITL), "s"),
    row("Throughput"),
    graph(
        "Tokens/s against capacity",
        "Capacity is what the engines measured.",
        "short",
        {
            "served": pods("server_tokens_per_second"),
            "demand": demand(),
            "capacity": pods("server_capacity_tokens_per_second"),
        },
    ),
    graph(
        "Prompt and answer tokens/s",
        "Cached prompt tokens are nearly free.",
        "short",
        {
            "prompt": rate("server_prompt_tokens"),
            "of these cached": rate("server_prefix_cached_tokens"),
            "answer": rate("server_generation_tokens"),
        },
    ),
    row("Latency"),
    latency("Time to first token", "From the server's taking the request.", TTFT),
    latency("Inter-token latency", "Between two tokens of an answer.", ITL),
    latency("Whole request", "To its last token, in the server.", "server_e2e_request_latency_seconds"),
    latency("Time in the gateway's queue", "Before the server sees the request.", "gateway_queue_wait_seconds"),
    row("Queue and cache"),
    graph(
        "Requests",
        "Where they are.",
        "short",
        {
            "running": pods("server_requests_running"),
            "waiting in the engine": pods("server_requests_waiting"),
            "queued in the gateway": pods("gateway_queued_requests"),
        },
    ),
    graph("Requests/s by status", "499: the client left.", "reqps", {"{{code}}": rate("gateway_requests", "code")}),
    graph("Refused requests/s", "By reason.", "reqps", {"{{reason}}": rate("gateway_rejected", "reason")}),
    graph("KV pages", "By state.", "short", {"{{state}}": pods("server_kv_pages", "state")}),
    graph(
        "Backlog",
        "Tokens that wait in the engine.",
        "short",
        {EACH_POD: pods("server_backlog_tokens", "namespace, pod")},
    ),
    graph(
        "Preemptions/s",
        "Requests put back to make room: too few KV pages.",
        "ops",
        {"preemptions": rate("server_preemptions")},
    ),
    row("Scaling"),
    graph(
        "Replicas",
        "What is there, and what the autoscaler asks for and may ask for.",
        "short",
        {
            "pods": f"sum({model('replicas')})",
            "ready": f"sum({model('ready_replicas')})",
            "HPA asks for": f"sum({model('hpa_desired_replicas')})",
            "HPA max": f"sum({model('hpa_max_replicas')})",
            "HPA min": f"sum({model('hpa_min_replicas')})",
        },
    ),
    graph(
        "Pods going away, servers down",
        "Draining pods finish their answers; a gateway whose server does not answer shows only its own figures.",
        "short",
        {
            "draining": pods("gateway_draining"),
            "server down": f"count(pagoda_gateway_server_up{CHOSEN} == 0) or vector(0)",
        },
    ),
    row("GPUs"),
    *gpus("{{exported_pod}}", "exported_pod"),
]


def write_dashboards(directory: Path) -> None:
    fleet = dashboard("pagoda-fleet", "Pagoda / Fleet", FLEET)
    for name, built in (("fleet", fleet), ("model", dashboard("pagoda-model", "Pagoda / Model", MODEL_PANELS))):
        (directory / f"{name}.json").write_text(json.dumps(built, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write_dashboards(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent.parent / "pagoda" / "dashboards")
