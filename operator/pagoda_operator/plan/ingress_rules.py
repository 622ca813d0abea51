"""What of `spec.ingress` the chart's values allow.

Whoever may write ModelDeployments need not be allowed to write Ingresses, which can take over hosts and, by
annotations, the configuration of nginx. So the operator writes for them only what whoever installed it has listed.
"""

import re

from pagoda_operator.api import ModelDeployment
from pagoda_operator.objects.settings import IngressRules

ANY_HOST = "*"
NAMESPACE = "{namespace}"
"""In a suffix: the namespace of the ModelDeployment, so that each has hosts of its own."""
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
MAXIMUM_VALUE_CHARACTERS = 4096
ASK = "or ask whoever installed Pagoda to add it to the chart's values"


def find_ingress_refusal(mdep: ModelDeployment, rules: IngressRules) -> str | None:
    """Returns the first thing that is not allowed, in the user's words.

    None when everything is, or when no Ingress is asked for.
    """
    wanted = mdep.spec.ingress
    if wanted is None:
        return None
    suffixes = [suffix.replace(NAMESPACE, mdep.namespace) for suffix in rules.host_suffixes]
    if not allows_host(wanted.host, suffixes):
        return (
            f"spec.ingress.host {wanted.host} is not allowed: choose a host of ingress.allowedHosts "
            f"({', '.join(suffixes) or 'it has none'}), {ASK}"
        )
    judged = (_judge_annotation(key, value, rules) for key, value in (wanted.annotations or {}).items())
    return next((text for text in judged if text), None)


def allows_host(host: str, suffixes: list[str]) -> bool:
    """Returns whether a suffix allows the host.

    Whole labels count: example.com allows a.example.com and not badexample.com.
    """
    return ANY_HOST in suffixes or any(f".{host}".endswith(f".{suffix}") for suffix in suffixes)


def _judge_annotation(key: str, value: str, rules: IngressRules) -> str | None:
    shown = CONTROL.sub("?", key)[:100]
    if key not in rules.annotations:
        return (
            f"spec.ingress.annotations {shown} is not allowed: remove it (ingress.allowedAnnotations: "
            f"{', '.join(rules.annotations) or 'none'}), {ASK}"
        )
    if CONTROL.search(value) or len(value) > MAXIMUM_VALUE_CHARACTERS:
        return (
            f"spec.ingress.annotations {shown} has control characters or is too long: use a single line of at most "
            f"{MAXIMUM_VALUE_CHARACTERS} characters"
        )
    return None
