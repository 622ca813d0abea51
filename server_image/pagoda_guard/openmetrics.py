"""A page of metrics in the format that is asked for: OpenMetrics, which alone has exemplars, or the older text."""

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

OPENMETRICS = "application/openmetrics-text"
TEXT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS_TYPE = f"{OPENMETRICS}; version=1.0.0; charset=utf-8"
AS_THEY_ARE = f"{OPENMETRICS}; version=1.0.0; escaping=allow-utf-8"
"""Asks for names with their colons, which are vLLM's: the encoder's default would write others."""
END = b"# EOF\n"
"""The last line of a page in OpenMetrics, and no other's."""


def wants_openmetrics(accept: str) -> bool:
    """Returns whether a request's `Accept` takes OpenMetrics, as Prometheus does."""
    return any(kind.partition(";")[0].strip().lower() == OPENMETRICS for kind in accept.split(","))


def name_content_type(*, in_openmetrics: bool) -> str:
    return OPENMETRICS_TYPE if in_openmetrics else TEXT_TYPE


def render(registry: CollectorRegistry, *, in_openmetrics: bool) -> bytes:
    encode, _ = choose_encoder(AS_THEY_ARE if in_openmetrics else "")
    return encode(registry)
