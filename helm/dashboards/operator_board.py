"""The operator: does it lead, does it keep up, and does the API server let it?"""

from helm.dashboards.board import chosen, dashboard
from helm.dashboards.panels import ANY_IS_WRONG, COUNT, Column, Json, Steps, graph, mapped, row, stat, table
from helm.dashboards.queries import part_or_none, quantile, rate

CHOSEN = 'namespace=~"$operator"'
OPERATOR = ("operator", "Operator's namespace", "label_values(pagoda_operator_leader, namespace)")
RECONCILE = "operator_reconcile_duration_seconds"
WAIT = "operator_queue_latency_seconds"
ONE_LEADS: Steps = ((1, "green"), (2, "red"))
SLOW: Steps = ((1, "orange"), (5, "red"))
REFUSED: Steps = ((0.01, "orange"), (0.1, "red"))
BY_RANK = {"p50": "light-blue", "p95": "blue", "p99": "dark-blue"}


def build() -> Json:
    panels = [*_summary(), *_work(), *_api(), *_models(), *_process()]
    about = "The operator: does it lead, does it keep up, does the API server let it? Models serve on without it."
    title = "Pagoda / Operator"
    return dashboard("pagoda-operator", title, about, panels, variables=[chosen(*OPERATOR)], annotations=[])


def _rate(name: str, by: str = "", window: str = "5m", extra: str = "") -> str:
    return rate(name, by, CHOSEN + extra, window)


def _summary() -> list[Json]:
    refused = part_or_none(
        _rate("operator_api_calls_total", extra=',code=~"5..|429|403"'), _rate("operator_api_calls_total")
    )
    return [
        stat(
            "Leaders",
            "Replicas that write. None: models serve on, but nothing changes and nothing scales.",
            f"sum(pagoda_operator_leader{{{CHOSEN}}}) or vector(0)",
            COUNT,
            ONE_LEADS,
            lowest="red",
        ),
        stat("Replicas", "Operators that are scraped.", f"count(pagoda_operator_leader{{{CHOSEN}}})", COUNT),
        stat(
            "Errors, 15 min",
            "Logged and survived; each is tried again with growing pauses. The log names the object.",
            f"round(sum(increase(pagoda_operator_errors_total{{{CHOSEN}}}[15m]))) or vector(0)",
            COUNT,
            ANY_IS_WRONG,
        ),
        stat(
            "Kinds it may not list",
            "The operator's log says what to grant.",
            f"count(max by (kind) (pagoda_operator_kind_readable{{{CHOSEN}}}) == 0) or vector(0)",
            COUNT,
            ANY_IS_WRONG,
        ),
        stat(
            "Tasks that failed",
            "In 15 minutes. They are started again; which: below.",
            f"round(sum(increase(pagoda_operator_task_failures_total{{{CHOSEN}}}[15m]))) or vector(0)",
            COUNT,
            ANY_IS_WRONG,
        ),
        stat("Wait p95", "From a change to its reconcile.", quantile(0.95, WAIT, "", CHOSEN, "5m"), "s", SLOW),
        stat("Reconcile p95", "How long one takes.", quantile(0.95, RECONCILE, "", CHOSEN, "5m"), "s", SLOW),
        stat(
            "API calls refused",
            "Share answered with 403, 429 or 5xx. 403: a right is missing. 429: the API server is busy.",
            refused,
            "percentunit",
            REFUSED,
        ),
    ]


def _ranks(title: str, about: str, name: str) -> Json:
    queries = {f"p{rank}": quantile(rank / 100, name, "", CHOSEN) for rank in (50, 95, 99)}
    return graph(title, about, "s", queries, colors=BY_RANK, none="0")


def _work() -> list[Json]:
    return [
        row("Work"),
        graph(
            "Reconciles/s by result",
            "Each looks at one model and does what is missing. At rest there are few.",
            "ops",
            {"{{result}}": rate("operator_reconciles_total", "result", CHOSEN)},
            none="0",
        ),
        graph(
            "Models that are due",
            "They wait for their reconcile. If it grows the operator does not keep up.",
            COUNT,
            {"{{pod}}": f"pagoda_operator_queue_depth{{{CHOSEN}}}"},
            none="0",
        ),
        _ranks("Wait for a reconcile", "From becoming due.", WAIT),
        _ranks("Time of a reconcile", "With all its API calls.", RECONCILE),
    ]


def _api() -> list[Json]:
    calls = "operator_api_calls_total"
    return [
        row("API server"),
        graph(
            "API calls/s by kind",
            "At rest these are the Lease's renewals.",
            "reqps",
            {"{{kind}}": rate(calls, "kind", CHOSEN)},
            side=True,
            none="0",
        ),
        graph(
            "API calls/s by status",
            "409: someone wrote first, and it is tried again. 403: a right is missing. 429: the API server is busy.",
            "reqps",
            {"{{code}}": rate(calls, "code", CHOSEN)},
            side=True,
            none="0",
        ),
    ]


def _models() -> list[Json]:
    by = "max by (namespace, model_deployment, type, reason) (pagoda_model_condition)"
    columns = [Column("Status", by, COUNT)]
    labels = {"namespace": "Namespace", "model_deployment": "Model", "type": "Condition", "reason": "Reason"}
    status = mapped("Status", {"1": ("True", "text"), "0": ("False", "text")}, 80)
    failures = rate("operator_task_failures_total", "task", CHOSEN)
    return [
        row("Models and troubles"),
        table(
            "Conditions of all models",
            "As the operator writes them. Progressing, Reconciling, Stalled are good when False, the others when True.",
            columns,
            labels=labels,
            overrides=[status],
            size=(12, 10),
        ),
        graph(
            "Errors/s, and tasks that failed",
            "The operator's log has each.",
            "ops",
            {"errors": rate("operator_errors_total", "", CHOSEN), "{{task}}": failures},
            size=(12, 10),
            none="0",
        ),
    ]


def _process() -> list[Json]:
    of_operators = f"* on (namespace, pod) group_left () (0 * pagoda_operator_leader{{{CHOSEN}}} + 1)"
    return [
        row("Process"),
        graph(
            "CPU",
            "Cores used, by pod.",
            "short",
            {"{{pod}}": f"rate(process_cpu_seconds_total[$__rate_interval]) {of_operators}"},
        ),
        graph(
            "Memory",
            "Resident, by pod. It grows with the number of objects watched.",
            "bytes",
            {"{{pod}}": f"process_resident_memory_bytes {of_operators}"},
        ),
    ]
