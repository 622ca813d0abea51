"""PromQL over our metrics. Every query is by model, by pod or over what the variables choose; none adds up ratios."""

CHOSEN = 'namespace=~"$namespace",model_deployment=~"$model"'
CHOSEN_PODS = f'{CHOSEN},pod=~"$pod"'
MODEL = "namespace, model_deployment"
POD = "namespace, pod"
WINDOW = "$__rate_interval"
TABLE_WINDOW = "5m"
"""For what is shown as one number: long enough that a quiet minute is not "no traffic"."""
TTFT = "server_time_to_first_token_seconds"
GAP = "server_inter_token_latency_seconds"
WHOLE = "server_e2e_request_latency_seconds"
QUEUE_WAIT = "gateway_queue_wait_seconds"
TRACED = frozenset({TTFT, GAP, WHOLE, QUEUE_WAIT})
"""The histograms of which our pods show exemplars."""


def model(name: str, matchers: str = CHOSEN) -> str:
    """Returns a series of the operator, once a model. NB: every replica of the operator has it, so never by `sum`."""
    return f"max by ({MODEL}) (pagoda_model_{name}{{{matchers}}})"


def capacity() -> str:
    """Returns what the ready replicas of each model can serve; no series at none."""
    return f"({model('capacity_tokens_per_second')} * {model('ready_replicas')} > 0)"


def used() -> str:
    return f"{model('tokens_per_second')} / {capacity()}"


def load() -> str:
    return f"{model('demand_tokens_per_second')} / {capacity()}"


def gauge(name: str, by: str = "", matchers: str = CHOSEN, how: str = "sum") -> str:
    return f"{how}{_by(by)}(pagoda_{name}{{{matchers}}})"


def demand(by: str = "", matchers: str = CHOSEN) -> str:
    """Returns a sum over the pods that know it: a gateway whose server went silent shows NaN, which would hide all."""
    return f"sum{_by(by)}(pagoda_gateway_demand_tokens_per_second{{{matchers}}} >= 0)"


def rate(name: str, by: str = "", matchers: str = CHOSEN, window: str = WINDOW) -> str:
    return f"sum{_by(by)}(rate(pagoda_{name}{{{matchers}}}[{window}]))"


def quantile(fraction: float, name: str, by: str = "", matchers: str = CHOSEN, window: str = WINDOW) -> str:
    """Returns a quantile; no series without traffic, where Prometheus would say NaN."""
    labels = f"{by}, le" if by else "le"
    return f"histogram_quantile({fraction}, {rate(f'{name}_bucket', labels, matchers, window)}) >= 0"


def mean(name: str, by: str = "", matchers: str = CHOSEN, window: str = WINDOW) -> str:
    return share(rate(f"{name}_sum", by, matchers, window), rate(f"{name}_count", by, matchers, window))


def share(part: str, whole: str) -> str:
    """Returns a ratio with no series where the whole is 0."""
    return f"{part} / ({whole} > 0)"


def part_or_none(part: str, whole: str) -> str:
    """Returns the share of a part which may have no series yet: then it is 0 of what there is."""
    return share(f"({part} or 0 * {whole})", whole)


def failed(by: str = "", window: str = WINDOW) -> str:
    """Returns the share of requests that got a 5xx."""
    bad = rate("gateway_requests_total", by, f'{CHOSEN},code=~"5.."', window)
    return part_or_none(bad, rate("gateway_requests_total", by, CHOSEN, window))


def within(objective: str, name: str, window: str = WINDOW) -> str:
    """Returns the share of observations within an objective, which must be a bucket's bound."""
    return share(
        rate(f"{name}_bucket", matchers=f'{CHOSEN_PODS},le="{objective}"', window=window),
        rate(f"{name}_count", matchers=CHOSEN_PODS, window=window),
    )


def prefix_hits(by: str = "", matchers: str = CHOSEN, window: str = WINDOW) -> str:
    hits = rate("server_prefix_cached_tokens_total", by, matchers, window)
    return share(hits, rate("server_prompt_tokens_total", by, matchers, window))


def or_zero(query: str) -> str:
    """For a count of what is wrong: no series means none."""
    return f"{query} or vector(0)"


def gpu(name: str, how: str) -> str:
    """Returns a series of the DCGM exporter for each GPU of the chosen models, joined by the very pod that uses it.

    A Prometheus that does not honour labels calls that pod `exported_pod`; where it does, it is `pod`.
    """
    renamed = f'{name}{{exported_pod!=""}}'
    for label in ("namespace", "pod"):
        renamed = f'label_replace({renamed}, "{label}", "$1", "exported_{label}", "(.+)")'
    either = f'({renamed} or {name}{{exported_pod="",pod!=""}})'
    pods = f"group by ({POD}, model_deployment) (pagoda_gateway_server_up{{{CHOSEN}}})"
    return f"{how} by ({MODEL}, pod, gpu) ({either} * on ({POD}) group_left (model_deployment) {pods})"


def _by(labels: str) -> str:
    return f" by ({labels}) " if labels else " "
