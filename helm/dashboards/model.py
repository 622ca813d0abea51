"""One model: what it serves, how fast, why it waits, pod by pod."""

from helm.dashboards.board import MODEL as MODEL_VARIABLE
from helm.dashboards.board import NAMESPACE, chosen, dashboard, events, objective
from helm.dashboards.board import POD as POD_VARIABLE
from helm.dashboards.gpus import gpus
from helm.dashboards.panels import (
    COUNT,
    FAILED_STEPS,
    GAP_STEPS,
    KV_STEPS,
    LOAD_STEPS,
    NO_TRAFFIC,
    OBJECTIVE_STEPS,
    TOKENS_PER_SECOND,
    TTFT_STEPS,
    Column,
    Json,
    graph,
    heatmap,
    mapped,
    row,
    sized,
    stat,
    table,
)
from helm.dashboards.queries import (
    CHOSEN,
    CHOSEN_PODS,
    GAP,
    POD,
    QUEUE_WAIT,
    TABLE_WINDOW,
    TRACED,
    TTFT,
    WHOLE,
    demand,
    failed,
    gauge,
    load,
    mean,
    model,
    prefix_hits,
    quantile,
    rate,
    share,
    used,
    within,
)

EACH = "{{pod}}"
BY_RANK = {"p50": "light-blue", "p95": "blue", "p99": "dark-blue"}
BY_CODE = {
    "200": "green",
    "400": "light-blue",
    "401": "blue",
    "404": "dark-blue",
    "413": "super-light-blue",
    "429": "yellow",
    "499": "purple",
    "500": "red",
    "502": "dark-red",
    "503": "orange",
}
"""Blue: the client's own fault. Red: ours."""
READY_STEPS = ((1, "green"),)
TTFT_OBJECTIVES = ("0.25", "0.5", "1.0", "2.5", "5.0", "10.0")
GAP_OBJECTIVES = ("0.025", "0.05", "0.1", "0.2", "0.3", "0.5")


def build() -> Json:
    panels = [*_summary(), *_traffic(), *_latency(), *_lengths(), *_engine(), *_pods(), *_scaling(), gpus()]
    variables = [
        chosen(*NAMESPACE),
        chosen(*MODEL_VARIABLE),
        chosen(*POD_VARIABLE),
        objective("ttft_objective", "TTFT objective", TTFT_OBJECTIVES, "2.5"),
        objective("gap_objective", "Gap objective", GAP_OBJECTIVES, "0.1"),
    ]
    about = "One model: what it serves, how fast, why it waits, pod by pod."
    return dashboard("pagoda-model", "Pagoda / Model", about, panels, variables=variables, annotations=events())


def _pods_rate(name: str, by: str = "") -> str:
    return rate(name, by, CHOSEN_PODS)


def _summary() -> list[Json]:
    window = TABLE_WINDOW
    return [
        stat(
            "State",
            "The reason of the condition Ready; the documentation has each with its fix.",
            f'max by (reason) (pagoda_model_condition{{{CHOSEN},type="Ready"}})',
            COUNT,
            READY_STEPS,
            none="Unknown",
            lowest="red",
            legend="{{reason}}",
        ),
        _within("TTFT", "ttft_objective", within("$ttft_objective", TTFT, window)),
        _within("Gap", "gap_objective", within("$gap_objective", GAP, window)),
        stat(
            "Failed requests",
            "Share of requests answered with a 5xx in five minutes. Requests refused, below, gives the reasons.",
            failed(window=window),
            "percentunit",
            FAILED_STEPS,
            none=NO_TRAFFIC,
        ),
        stat(
            "TTFT p95",
            "Time from the server's taking a request to its first token, five minutes.",
            quantile(0.95, TTFT, matchers=CHOSEN_PODS, window=window),
            "s",
            TTFT_STEPS,
            none=NO_TRAFFIC,
        ),
        stat(
            "Token gap p95",
            "Time between two tokens of an answer, five minutes.",
            quantile(0.95, GAP, matchers=CHOSEN_PODS, window=window),
            "s",
            GAP_STEPS,
            none=NO_TRAFFIC,
        ),
        stat(
            "Load",
            "Demand against the capacity of the ready replicas; of several chosen models, the busiest.",
            f"max({load()})",
            "percentunit",
            LOAD_STEPS,
            none="Unknown",
        ),
        stat(
            "KV cache used",
            "Share of the KV pages that running requests hold, in the fullest pod. When it is full, requests wait, "
            "and then some are preempted.",
            gauge("server_kv_usage_ratio", matchers=CHOSEN_PODS, how="max"),
            "percentunit",
            KV_STEPS,
        ),
    ]


def _within(what: str, variable: str, query: str) -> Json:
    about = (
        f"Share of observations within the {what} objective that is chosen above, ${{{variable}}} s, in five minutes. "
        "Below 99 % look at where the time goes."
    )
    title = f"{what} objective met"
    return stat(title, about, query, "percentunit", OBJECTIVE_STEPS, none=NO_TRAFFIC, lowest="red")


def _traffic() -> list[Json]:
    served = {
        "served": gauge("server_tokens_per_second", matchers=CHOSEN_PODS),
        "demand": demand(matchers=CHOSEN_PODS),
        "capacity": gauge("server_capacity_tokens_per_second", matchers=CHOSEN_PODS),
    }
    computed = f"{_pods_rate('server_prompt_tokens_total')} - {_pods_rate('server_prefix_cached_tokens_total')}"
    tokens = {
        "answer": _pods_rate("server_generation_tokens_total"),
        "prompt, computed": computed,
        "prompt, from the cache": _pods_rate("server_prefix_cached_tokens_total"),
    }
    reasons = {"stop": "green", "length": "blue", "abort": "orange", "error": "red"}
    return [
        row("Traffic"),
        graph(
            "Tokens/s against capacity",
            "Capacity is what the engines measured. Demand above it is a backlog, which more replicas work off.",
            TOKENS_PER_SECOND,
            served,
            colors={"served": "blue", "demand": "orange", "capacity": "green"},
        ),
        graph(
            "Prompt and answer tokens/s",
            "Prompt tokens from the prefix cache cost nearly nothing.",
            TOKENS_PER_SECOND,
            tokens,
            stacked=True,
        ),
        graph(
            "Requests/s by status",
            "499: the client left. 429: a tenant's limit or a full queue. 503: try again later.",
            "reqps",
            {"{{code}}": _pods_rate("gateway_requests_total", "code")},
            side=True,
            colors=BY_CODE,
        ),
        graph(
            "Answers/s by reason of their end",
            "stop: the model ended it. length: max_tokens or the context did; if that grows, answers are cut short. "
            "abort: the client left. error: the engine failed; look at its log.",
            "reqps",
            {"{{finished_reason}}": _pods_rate("server_request_success_total", "finished_reason")},
            side=True,
            stacked=True,
            colors=reasons,
        ),
        graph(
            "Requests refused/s",
            "By the gateway. queue_full, wait_exceeded: more replicas. unauthorized: the client's key.",
            "reqps",
            {"{{reason}}": _pods_rate("gateway_rejected_total", "reason")},
            side=True,
            none="0",
        ),
        graph(
            "Requests",
            "Where they are. Many in the gateway: no slot is free, so maxNumSeqs or the replicas are the limit.",
            COUNT,
            {
                "queued in the gateway": gauge("gateway_queued_requests", matchers=CHOSEN_PODS),
                "waiting in the engine": gauge("server_requests_waiting", matchers=CHOSEN_PODS),
                "running": gauge("server_requests_running", matchers=CHOSEN_PODS),
            },
            stacked=True,
            none="0",
        ),
    ]


def _ranks(title: str, about: str, name: str) -> Json:
    ranks = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
    queries = {legend: quantile(fraction, name, matchers=CHOSEN_PODS) for legend, fraction in ranks.items()}
    return graph(title, about, "s", queries, colors=BY_RANK, size=(8, 9), exemplars=name in TRACED)


def _latency() -> list[Json]:
    phases = {
        "queue of the gateway": mean(QUEUE_WAIT, matchers=CHOSEN_PODS),
        "queue of the engine": mean("server_request_queue_time_seconds", matchers=CHOSEN_PODS),
        "prefill": mean("server_request_prefill_time_seconds", matchers=CHOSEN_PODS),
        "decode": mean("server_request_decode_time_seconds", matchers=CHOSEN_PODS),
    }
    by_le = rate(f"{TTFT}_bucket", "le", CHOSEN_PODS)
    return [
        row("Latency"),
        graph(
            "Where the time of a request goes, mean",
            "Queues: more replicas. Prefill: long prompts, or few prefix hits. Decode: long answers, or a full batch.",
            "s",
            phases,
            stacked=True,
            size=(12, 10),
        ),
        heatmap(
            "Time to first token, distribution",
            "Requests/s in each bucket. Two bands are two kinds of requests, which percentiles hide.",
            "s",
            by_le,
            size=(12, 10),
        ),
        _ranks("Time to first token", "From the server's taking a request.", TTFT),
        _ranks("Token gap", "Between two tokens of an answer.", GAP),
        _ranks("Whole request", "To its last token, in the server. Long answers take long.", WHOLE),
        _ranks("Time in the gateway's queue", "Before the server sees the request.", QUEUE_WAIT),
        _ranks("Prefill", "From a request's first step to its first token.", "server_request_prefill_time_seconds"),
        _ranks("Decode", "From the first token to the last.", "server_request_decode_time_seconds"),
    ]


def _lengths() -> list[Json]:
    prompts, answers = (f"server_request_{kind}_tokens_bucket" for kind in ("prompt", "generation"))
    return [
        row("Lengths"),
        heatmap("Prompt length", "Requests/s by tokens of their prompt.", COUNT, rate(prompts, "le", CHOSEN_PODS)),
        heatmap("Answer length", "Requests/s by tokens of their answer.", COUNT, rate(answers, "le", CHOSEN_PODS)),
    ]


def _engine() -> list[Json]:
    pages = gauge("server_kv_pages", "state", CHOSEN_PODS)
    whole = f"scalar({gauge('server_kv_pages', matchers=CHOSEN_PODS)})"
    steps = {
        "p50": quantile(0.5, "server_iteration_tokens_total", matchers=CHOSEN_PODS),
        "p95": quantile(0.95, "server_iteration_tokens_total", matchers=CHOSEN_PODS),
    }
    return [
        row("Engine"),
        graph(
            "KV cache by state",
            "owned: held by running requests. cached: prefixes, given up when pages are needed. Owned near 100 %: "
            "requests wait for memory.",
            "percentunit",
            {"{{state}}": f"{pages} / {whole}"},
            stacked=True,
            colors={"owned": "orange", "cached": "blue", "free": "dark-green"},
            maximum=1,
            none="0",
            size=(8, 9),
        ),
        graph(
            "Prefix hit ratio",
            "Share of prompt tokens found in the cache. It falls when prompts share less, or pages are short.",
            "percentunit",
            {"hit": prefix_hits(matchers=CHOSEN_PODS)},
            maximum=1,
            size=(8, 9),
        ),
        graph(
            "Preemptions/s",
            "Requests put back to make room for others and computed anew. More than now and then: too few KV pages.",
            "ops",
            {"preemptions": _pods_rate("server_preemptions_total")},
            none="0",
            size=(8, 9),
        ),
        graph(
            "Tokens per step",
            "Of prompts and answers: the size of the batch that the device works on.",
            COUNT,
            steps,
            colors=BY_RANK,
        ),
        graph(
            "Backlog",
            "Prompt tokens not computed yet, and the expected answers of waiting requests.",
            "count:tok",
            {"backlog": gauge("server_backlog_tokens", matchers=CHOSEN_PODS)},
            none="0",
        ),
    ]


def _pods() -> list[Json]:
    by, chosen_pods, window = POD, CHOSEN_PODS, TABLE_WINDOW
    tokens = gauge("server_tokens_per_second", by, chosen_pods)
    filled = share(tokens, gauge("server_capacity_tokens_per_second", by, chosen_pods))
    started = gauge("server_start_time_seconds", by, chosen_pods, how="max")
    kv_used = gauge("server_kv_usage_ratio", by, chosen_pods, how="max")
    restarts = f"sum by ({by}) (changes(pagoda_server_start_time_seconds{{{chosen_pods}}}[$__range]))"
    columns = [
        Column("Server", gauge("gateway_server_up", by, chosen_pods, how="max"), COUNT),
        Column("Tokens/s", tokens, TOKENS_PER_SECOND, width=100),
        Column("Capacity used", filled, "percentunit", LOAD_STEPS, width=150, bar=True),
        Column("Running", gauge("server_requests_running", by, chosen_pods), COUNT, width=80),
        Column("Queued", gauge("gateway_queued_requests", by, chosen_pods), COUNT, width=80),
        Column("KV used", kv_used, "percentunit", KV_STEPS, width=80),
        Column("Prefix hits", prefix_hits(by, chosen_pods, window), "percentunit", width=100),
        Column("TTFT p95", quantile(0.95, TTFT, by, chosen_pods, window), "s", TTFT_STEPS, width=90),
        Column("Gap p95", quantile(0.95, GAP, by, chosen_pods, window), "s", GAP_STEPS, width=90),
        Column("Up for", f"time() - {started}", "s", width=100),
        Column("Restarts", restarts, COUNT, width=85),
    ]
    up = mapped("Server", {"1": ("Up", "green"), "0": ("Down", "red")}, 75)
    about = (
        "A row a pod. One pod that differs from the others is a bad node, or a client that keeps to one connection. "
        "Restarts: of the engine, in the time chosen above."
    )
    labels = {"namespace": "Namespace", "pod": "Pod"}
    return [
        row("Pods"),
        table("Pods", about, columns, labels=labels, overrides=[up, sized("Namespace", 100)]),
        graph("Tokens/s by pod", "Prompt and answer tokens served.", TOKENS_PER_SECOND, {EACH: tokens}, side=True),
        graph(
            "KV cache used by pod",
            "Share of the pages held by running requests.",
            "percentunit",
            {EACH: kv_used},
            side=True,
            maximum=1,
            none="0",
        ),
    ]


def _scaling() -> list[Json]:
    replicas = {
        "pods": f"sum({model('replicas')})",
        "ready": f"sum({model('ready_replicas')})",
        "HPA asks for": f"sum({model('hpa_desired_replicas')})",
        "HPA max": f"sum({model('hpa_max_replicas')})",
        "HPA min": f"sum({model('hpa_min_replicas')})",
    }
    down = f"count(pagoda_gateway_server_up{{{CHOSEN}}} == 0) or vector(0)"
    phases = f'max by (phase) (pagoda_server_start_seconds{{{CHOSEN_PODS},phase!="total"}})'
    return [
        row("Scaling and starts"),
        graph(
            "Replicas",
            "What is there, and what the autoscaler asks for and may ask for.",
            COUNT,
            replicas,
            side=True,
            none="0",
        ),
        graph(
            "Start of a pod, slowest of each phase",
            "Seconds from the server's process to ready. A new replica helps only after this.",
            "s",
            {"{{phase}}": phases},
            side=True,
            stacked=True,
            none="No pod is up",
        ),
        graph(
            "Pods going away, servers down",
            "Draining pods finish their answers. A gateway whose server does not answer shows only its own figures.",
            COUNT,
            {"draining": gauge("gateway_draining", matchers=CHOSEN), "server down": down},
            none="0",
        ),
        graph(
            "Capacity used",
            "Tokens served against the capacity of the ready replicas.",
            "percentunit",
            {"{{namespace}}/{{model_deployment}}": used()},
            side=True,
            none="Unknown",
        ),
    ]
