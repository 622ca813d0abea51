"""`why`: what is wrong with a model, the evidence for it, and the next step. Pure.

The conditions name the cause; this adds what they cannot say (no operator, no CRD, a Secret that is gone) and fills in
names, so that a step can be copied.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from pagoda_cli.diagnosis.evidence import find_evidence
from pagoda_cli.diagnosis.facts import ConditionFact, ModelFacts, build_facts
from pagoda_cli.diagnosis.observed import Observed, age_seconds
from pagoda_cli.diagnosis.steps import REASONS, build_steps, find_inner_reason
from pagoda_operator.api.documents import build_reason_url
from pagoda_operator.api.reasons import Reason

PATIENCE_SECONDS = 30.0
"""How long the operator may take to look at a resource before that is a trouble of its own."""
WAITING = frozenset({Reason.STARTING, Reason.PROGRESSING, Reason.NO_SURGE_CAPACITY, Reason.SCALED_TO_ZERO})
"""Reasons that pass by themselves, or are wanted."""
GOOD = frozenset(
    {
        Reason.SERVING,
        Reason.FETCHED,
        Reason.ALL_READY,
        Reason.SCALING_ACTIVE,
        Reason.WRITTEN,
        Reason.COMPLETE,
    }
)
_REFUSED_KEY = "KeysRefused"
_WRAPPERS = (Reason.ROLLOUT_FAILING, Reason.DEGRADED)
_TLS_SECRET = "spec.ingress.tlsSecretName "
OWN_REASONS = ("NotSeen", "NotObserved", _REFUSED_KEY, "CrdMissing", "CrdOld", "OperatorDown")
"""What no condition tells; each has its section in troubleshooting, as the reasons have."""


@dataclass(frozen=True, slots=True)
class Cause:
    """One thing that is wrong, or goes on (`is_wrong` False), of one model or of the whole cluster (`name` empty)."""

    namespace: str
    name: str
    reason: str
    message: str
    evidence: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()
    url: str = ""
    is_wrong: bool = True


def find_causes(seen: Observed, now: datetime) -> tuple[Cause, ...]:
    """Returns what is wrong with a model, what matters most first; each reason once."""
    facts = build_facts(seen, now)
    found = [*_unseen(seen, now), *_of_conditions(seen, facts), *_missing_secrets(seen), *_refused_keys(seen)]
    first: dict[str, Cause] = {}
    for cause in found:
        first.setdefault(cause.reason, cause)
    first = _fold(seen, first)
    serious = any(cause.is_wrong for cause in first.values())
    kept = [cause for cause in first.values() if cause.is_wrong or cause.reason == _REFUSED_KEY or not serious]
    return tuple(sorted(kept, key=lambda cause: not cause.is_wrong))


def _fold(seen: Observed, causes: dict[str, Cause]) -> dict[str, Cause]:
    """Returns the causes without those that others tell of as well: one mistake is said once.

    Degraded gives way to what it tells of; RolloutFailing tells all of it, with its steps; a certificate that is not
    shown because its Secret is missing is told with that evidence.
    """
    inner = {word: find_inner_reason(causes[word].message) for word in _WRAPPERS if word in causes}
    told = {reason for word, reason in inner.items() if word == Reason.ROLLOUT_FAILING}
    told |= {word for word, reason in inner.items() if word == Reason.DEGRADED and reason in causes}
    kept = {reason: cause for reason, cause in causes.items() if reason not in told}
    certificate, secret = kept.get(Reason.CERTIFICATE_MISSING), kept.get(Reason.SECRET_NOT_FOUND)
    if certificate is not None and secret is not None and secret.message.startswith(_TLS_SECRET):
        del kept[Reason.SECRET_NOT_FOUND]
        kept[Reason.CERTIFICATE_MISSING] = replace(certificate, evidence=(secret.message,))
    return kept


def _of_conditions(seen: Observed, facts: ModelFacts) -> Iterator[Cause]:
    order = {"Ready": 0, "Stalled": 1, "PodsReady": 2, "ModelFetched": 3}
    for condition in sorted(facts.conditions, key=lambda c: order.get(c.type, 9)):
        if not _tells_trouble(condition):
            continue
        known = REASONS.get(condition.reason)
        yield Cause(
            seen.namespace,
            seen.name,
            condition.reason,
            condition.message or (known.meaning if known is not None else ""),
            find_evidence(seen, condition.reason, condition.message),
            build_steps(seen, condition.reason, condition.message),
            build_reason_url(condition.reason) if known is not None else "",
            is_wrong=condition.reason not in WAITING and not (condition.type == "Scaling" and facts.ready != "True"),
        )


def _tells_trouble(condition: ConditionFact) -> bool:
    if not condition.reason or condition.reason in GOOD:
        return False
    return condition.type != "Progressing" or condition.reason not in WAITING


def _unseen(seen: Observed, now: datetime) -> Iterator[Cause]:
    meta = seen.mdep["metadata"]
    age = age_seconds(meta.get("creationTimestamp"), now) or 0.0
    generation, observed = meta.get("generation", 0), seen.status.get("observedGeneration")
    logs = ("kubectl get pods -A -l app.kubernetes.io/component=operator", "pagoda report")
    if not seen.status.get("conditions"):
        late = age > PATIENCE_SECONDS
        message = f"the operator has not looked at it in {age:.0f} s: it has no status"
        fix = (*logs, "the chart's value watchNamespaces must hold this namespace, or be empty") if late else ()
        yield Cause(seen.namespace, seen.name, "NotSeen", message, (), fix, build_reason_url("NotSeen"), late)
    elif observed is not None and observed != generation:
        message = f"the status is that of generation {observed}, and the spec is at {generation}"
        steps = ("wait some seconds and ask again", *logs)
        url = build_reason_url("NotObserved")
        yield Cause(seen.namespace, seen.name, "NotObserved", message, (), steps, url, is_wrong=False)


def _missing_secrets(seen: Observed) -> Iterator[Cause]:
    for field in seen.missing_secrets:
        path, _, secret = field.partition("=")
        reason = Reason.SECRET_NOT_FOUND
        message = f"{path} names the Secret {secret}, which does not exist in this namespace"
        steps = build_steps(seen, reason, f"Secret {secret},")
        yield Cause(seen.namespace, seen.name, str(reason), message, (), steps, build_reason_url(reason))


def _refused_keys(seen: Observed) -> Iterator[Cause]:
    if not seen.refused_keys:
        return
    auth = (seen.mdep.get("spec") or {}).get("auth") or {}
    secret = re.sub(r"[^\w.-]", "", str(next((v.get("name") for v in auth.values() if isinstance(v, dict)), "")))
    yield Cause(
        seen.namespace,
        seen.name,
        _REFUSED_KEY,
        f"{_requests(seen.refused_keys)} refused with 401 since the pods began: the API key is missing or wrong",
        steps=(
            "clients send the header Authorization: Bearer KEY",
            f"which tenants have a key: kubectl -n {seen.namespace} describe secret {secret}",
            f"try the first of these keys: pagoda chat {seen.name} -n {seen.namespace} --ask Hello",
        ),
        url=build_reason_url(_REFUSED_KEY),
        is_wrong=False,
    )


def _requests(count: int) -> str:
    return "1 request was" if count == 1 else f"{count:,} requests were"
