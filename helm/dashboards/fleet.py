"""Is anything wrong, and with which model? The first line answers the one, the table the other."""

from helm.dashboards.board import MODEL as MODEL_VARIABLE
from helm.dashboards.board import NAMESPACE, chosen, dashboard, events
from helm.dashboards.gpus import gpus
from helm.dashboards.panels import (
    ANY_IS_WRONG,
    COUNT,
    FAILED_STEPS,
    GAP_STEPS,
    KV_STEPS,
    LOAD_STEPS,
    NO_TRAFFIC,
    TOKENS_PER_SECOND,
    TTFT_STEPS,
    Column,
    Json,
    graph,
    mapped,
    row,
    sized,
    stat,
    table,
)
from helm.dashboards.queries import (
    CHOSEN,
    GAP,
    MODEL,
    QUEUE_WAIT,
    TABLE_WINDOW,
    TTFT,
    failed,
    gauge,
    load,
    model,
    or_zero,
    quantile,
    rate,
    used,
)

EACH = "{{namespace}}/{{model_deployment}}"
READY = f'max by ({MODEL}, reason) (pagoda_model_condition{{{CHOSEN},type="Ready"}})'
MODEL_BOARD = {
    "title": "This model's board",
    "url": "/d/pagoda-model?var-datasource=${datasource}&var-namespace=${__data.fields.Namespace}"
    "&var-model=${__value.raw}&${__url_time_range}",
}


def build() -> Json:
    panels = [*_worst(), _models(), *_saturation(), *_latency(), *_scaling(), gpus()]
    variables = [chosen(*NAMESPACE), chosen(*MODEL_VARIABLE)]
    about = "All models of this cluster: is anything wrong, and with which?"
    annotations = events(restarts=False)
    return dashboard("pagoda-fleet", "Pagoda / Fleet", about, panels, variables=variables, annotations=annotations)


def _worst() -> list[Json]:
    """Returns one number for each way in which something can be wrong: of the worst model, never an average."""
    ttft, gap = (quantile(0.95, name, MODEL, window=TABLE_WINDOW) for name in (TTFT, GAP))
    firing = 'count(ALERTS{alertname=~"Pagoda.*",alertstate="firing"})'
    return [
        stat(
            "Models not ready",
            "Their condition Ready is not True. The table below says why; so does kubectl describe modeldeployment.",
            or_zero(f"count({model('ready')} == 0)"),
            COUNT,
            ANY_IS_WRONG,
        ),
        stat(
            "Alerts firing",
            "Our alerts, where this Prometheus evaluates them. Each links to what to do.",
            or_zero(firing),
            COUNT,
            ANY_IS_WRONG,
        ),
        stat(
            "Failed, worst",
            "Share of requests answered with a 5xx in five minutes, of the model with most. Its board has the reasons.",
            f"max({failed(MODEL, TABLE_WINDOW)})",
            "percentunit",
            FAILED_STEPS,
            none=NO_TRAFFIC,
        ),
        stat(
            "TTFT p95, worst",
            "One request in twenty waited longer for its first token, in the slowest model's server. More replicas, "
            "or a lower targetUtilization.",
            f"max({ttft})",
            "s",
            TTFT_STEPS,
            none=NO_TRAFFIC,
        ),
        stat(
            "Gap p95, worst",
            "Time between two tokens, of the model with the longest. Above 0.1 s a reader notices.",
            f"max({gap})",
            "s",
            GAP_STEPS,
            none=NO_TRAFFIC,
        ),
        stat(
            "Load, busiest",
            "Demand against what its ready replicas can serve. Above 100 % a backlog grows.",
            f"max({load()})",
            "percentunit",
            LOAD_STEPS,
            none="Unknown",
        ),
        stat(
            "Queued requests",
            "They wait for their turn in the gateways of all models. No limit is right for all, so it has no colour.",
            f"sum({model('queued_requests')})",
            COUNT,
        ),
        stat(
            "Tokens/s",
            "Prompt and answer tokens served, all models.",
            f"sum({model('tokens_per_second')})",
            TOKENS_PER_SECOND,
        ),
    ]


def _models() -> Json:
    window = TABLE_WINDOW
    columns = [
        Column("Ready", READY, COUNT),
        Column("Pods ready", model("ready_replicas"), COUNT, width=90),
        Column("Tokens/s", model("tokens_per_second"), TOKENS_PER_SECOND, width=100),
        Column("Capacity used", used(), "percentunit", LOAD_STEPS, width=150, bar=True),
        Column("Load", load(), "percentunit", LOAD_STEPS, width=80),
        Column("Queued", model("queued_requests"), COUNT, width=80),
        Column("Wait p95", quantile(0.95, QUEUE_WAIT, MODEL, window=window), "s", TTFT_STEPS, width=95),
        Column("TTFT p95", quantile(0.95, TTFT, MODEL, window=window), "s", TTFT_STEPS, width=95),
        Column("Gap p95", quantile(0.95, GAP, MODEL, window=window), "s", GAP_STEPS, width=95),
        Column("Failed", failed(MODEL, window), "percentunit", FAILED_STEPS, width=95),
    ]
    about = (
        "A row a model; a click on its name opens its board. Capacity used: tokens served against what the ready "
        "replicas can serve. Load: the same of what is asked for. Wait, TTFT, gap: p95 of five minutes."
    )
    ready = mapped("Ready", {"1": ("Ready", "green"), "0": ("Not ready", "red")}, 90)
    labels = {"namespace": "Namespace", "model_deployment": "Model", "reason": "Reason"}
    widths = [ready, sized("Namespace", 120), sized("Reason", 170)]
    return table("Models", about, columns, labels=labels, link=("Model", MODEL_BOARD), overrides=widths, ahead="Reason")


def _saturation() -> list[Json]:
    refused = rate("gateway_rejected_total", MODEL)
    return [
        row("Saturation, by model"),
        graph(
            "Load",
            "Demand (what the autoscaler follows: tokens served, and the backlog divided by backlogDrainSeconds) "
            "against the capacity of the ready replicas. Above 100 % a backlog grows.",
            "percentunit",
            {EACH: load()},
            side=True,
            steps=((1, "red"),),
            none="Unknown",
        ),
        graph(
            "Tokens/s",
            "Prompt and answer tokens served.",
            TOKENS_PER_SECOND,
            {EACH: model("tokens_per_second")},
            side=True,
            none="0",
        ),
        graph(
            "KV cache used, fullest pod",
            "Share of the KV pages that running requests hold. Full, it makes requests wait, and then preempts some.",
            "percentunit",
            {EACH: gauge("server_kv_usage_ratio", MODEL, how="max")},
            side=True,
            maximum=1,
            steps=KV_STEPS,
            none="0",
        ),
        graph(
            "Queued requests",
            "They wait for their turn in the gateways.",
            COUNT,
            {EACH: model("queued_requests")},
            side=True,
            none="0",
        ),
        graph(
            "Failed requests",
            "Share of requests that got a 5xx. 503 with Retry-After is a refusal: its reason is beside this.",
            "percentunit",
            {EACH: failed(MODEL)},
            side=True,
            none=NO_TRAFFIC,
        ),
        graph(
            "Refused requests/s",
            "By the gateways. Each model's board has the reasons.",
            "reqps",
            {EACH: refused},
            side=True,
            none="0",
        ),
    ]


def _latency() -> list[Json]:
    return [
        row("Latency, by model"),
        graph(
            "Time to first token, p95",
            "In the server, from a request's arrival to its first token.",
            "s",
            {EACH: quantile(0.95, TTFT, MODEL)},
            side=True,
            steps=TTFT_STEPS[1:],
            exemplars=True,
        ),
        graph(
            "Token gap, p95",
            "Time between two tokens of an answer.",
            "s",
            {EACH: quantile(0.95, GAP, MODEL)},
            side=True,
            steps=GAP_STEPS[1:],
            exemplars=True,
        ),
    ]


def _scaling() -> list[Json]:
    """NB: an HPA that has never had its figure asks for none: it is at what it saw."""
    asked = f"({model('hpa_desired_replicas')} > 0 or {model('hpa_current_replicas')})"
    room = f"{model('hpa_max_replicas')} - {asked}"
    return [
        row("Scaling, by model"),
        graph("Ready pods", "Pods that answer.", COUNT, {EACH: model("ready_replicas")}, side=True, none="0"),
        graph(
            "Room to scale",
            "maxReplicas minus what the HPA asks for: at 0 a model cannot grow. Only autoscaled models.",
            COUNT,
            {EACH: room},
            side=True,
            none="None is autoscaled",
        ),
    ]
