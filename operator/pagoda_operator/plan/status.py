"""The status. Figures move only when they change by more than noise, so that nothing is written at rest."""

from datetime import datetime

from pagoda_operator.api import ModelDeployment
from pagoda_operator.api.reasons import Reason
from pagoda_operator.api.resources import Resources
from pagoda_operator.kube.objects import Object
from pagoda_operator.kube.pods import is_ready, is_to_run, requested
from pagoda_operator.objects.gateway import PORT
from pagoda_operator.objects.labels import selector_text
from pagoda_operator.plan.conditions import compute_conditions, timestamp
from pagoda_operator.plan.drift import amount_of
from pagoda_operator.plan.loads import MEASURED
from pagoda_operator.plan.revision import capacity_key, revision_label_of, revision_of, written_capacity_key
from pagoda_operator.plan.rollout import count_updated, ready_and_wanted
from pagoda_operator.plan.world import World

NOISE = 0.05
DEFAULT_GPU_RESOURCE = Resources().gpu_resource


_KEPT = ("selector", "url", "capacity", "revision", "completeRevision")
"""What stays said of a resource that breaks the rules: its objects stay as they are too."""


def plan_status(world: World, now: datetime, *, objects: tuple[Object, ...], capacity: Object | None) -> Object:
    status: Object = {"observedGeneration": world.generation, "conditions": compute_conditions(world, now)}
    status |= _count(world) | _compare_with_wanted(world)
    if world.mdep is None:
        return {**status, **{key: world.before[key] for key in _KEPT if key in world.before}}
    status["selector"] = selector_text(world.mdep)
    status["url"] = url_of(world.mdep, has_ingress=any(obj["kind"] == "Ingress" for obj in objects))
    status["load"] = _load(world)
    status["capacity"] = capacity
    status |= _revisions(world, objects, status["conditions"])
    return {key: value for key, value in status.items() if value is not None}


def _count(world: World) -> Object:
    pods = [pod for pod in world.pods if is_to_run(pod)]
    resource = world.mdep.spec.resources.gpu_resource if world.mdep else DEFAULT_GPU_RESOURCE
    return {
        "replicas": len(pods),
        "readyReplicas": sum(map(is_ready, pods)),
        "updatedReplicas": count_updated(world),
        "gpus": sum(int(amount_of(requested(pod, resource)) or 0) for pod in pods),
    }


def _compare_with_wanted(world: World) -> Object:
    ready, now_wanted = ready_and_wanted(world)
    wanted = world.before.get("wantedReplicas") if world.mdep is None else now_wanted
    return {} if wanted is None else {"wantedReplicas": wanted, "readyOfWanted": f"{ready}/{wanted}"}


def _revisions(world: World, objects: tuple[Object, ...], conditions: list[Object]) -> Object:
    """Returns the revision that is wanted, and the same again once every replica has it."""
    template = next(obj["spec"]["template"] for obj in objects if obj["kind"] == "Deployment")
    live = (world.child("Deployment") or {}).get("spec", {}).get("template")
    is_written = live is not None and revision_label_of(live) == revision_label_of(template)
    is_complete = is_written and any(c["reason"] == Reason.COMPLETE for c in conditions)
    revision = revision_of(template)
    was_complete = world.before.get("completeRevision") == revision
    return {"revision": revision, "completeRevision": revision if is_complete or was_complete else None}


def url_of(mdep: ModelDeployment, *, has_ingress: bool) -> str:
    ingress = mdep.spec.ingress
    if ingress is None or not has_ingress:
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
