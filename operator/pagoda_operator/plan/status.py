"""The status. Figures move only when they change by more than noise, so that nothing is written at rest."""

from datetime import datetime

from pagoda_operator.api import ModelDeployment
from pagoda_operator.kube.objects import Object
from pagoda_operator.kube.pods import is_ready
from pagoda_operator.objects.labels import selector_text
from pagoda_operator.objects.pod import PORT
from pagoda_operator.objects.settings import IngressRules
from pagoda_operator.plan.conditions import compute_conditions, timestamp
from pagoda_operator.plan.hashing import hash_of
from pagoda_operator.plan.ingress_rules import find_ingress_refusal
from pagoda_operator.plan.loads import MEASURED
from pagoda_operator.plan.revision import capacity_key, written_capacity_key
from pagoda_operator.plan.world import World

NOISE = 0.05


def plan_status(world: World, now: datetime, *, template: Object | None, capacity: Object | None) -> Object:
    status: Object = {"observedGeneration": world.generation, "conditions": compute_conditions(world, now)}
    status["replicas"] = sum("deletionTimestamp" not in pod["metadata"] for pod in world.pods)
    status["readyReplicas"] = sum(is_ready(pod) for pod in world.pods)
    if world.mdep is None:
        kept: Object = {
            key: world.before[key] for key in ("selector", "url", "capacity", "revision") if key in world.before
        }
        return {**status, **kept}
    status["selector"] = selector_text(world.mdep)
    status["url"] = url_of(world.mdep, world.ingress_rules)
    status["load"] = _load(world)
    status["capacity"] = capacity
    status["revision"] = hash_of(template)[:10]
    return {key: value for key, value in status.items() if value is not None}


def url_of(mdep: ModelDeployment, rules: IngressRules) -> str:
    ingress = mdep.spec.ingress
    if ingress is None or find_ingress_refusal(mdep, rules):
        return f"http://{mdep.name}.{mdep.namespace}.svc:{PORT}/v1"
    scheme = "https" if ingress.tls_secret_name else "http"
    return f"{scheme}://{ingress.host}/v1"


def plan_capacity(world: World, mdep: ModelDeployment, now: datetime) -> Object | None:
    """Returns the capacity of a replica, kept until the key changes or a figure differs by more than noise.

    What a start measures is at most what a replica can do: it raises the figure, and only what full pods observe lowers
    it. So a pod that starts on a busy node scales nothing up.
    """
    key, load = capacity_key(mdep), world.load
    before: Object | None = world.before.get("capacity")
    if before is not None and before.get("key") == written_capacity_key(mdep):
        before = {**before, "key": key}
    if before is not None and (before.get("key") != key or not before.get("tokensPerSecond")):
        before = None
    if load is None or load.capacity_tokens_per_second is None:
        return before
    new = round(load.capacity_tokens_per_second, 1)
    if before is not None and _is_no_news(float(before["tokensPerSecond"]), new, load.capacity_source):
        return before
    return {"tokensPerSecond": new, "source": load.capacity_source, "measuredAt": timestamp(now), "key": key}


def _is_no_news(before: float, new: float, source: str | None) -> bool:
    return _is_noise(before, new) or (source == MEASURED and new < before)


def _load(world: World) -> Object | None:
    if world.load is None:
        return None
    new = round(world.load.tokens_per_second, 1)
    before = (world.before.get("load") or {}).get("tokensPerSecond")
    return {"tokensPerSecond": before if before is not None and _is_noise(float(before), new) else new}


def _is_noise(before: float, new: float) -> bool:
    return abs(new - before) <= NOISE * abs(before)
