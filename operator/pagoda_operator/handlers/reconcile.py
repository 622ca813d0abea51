"""One reconcile: observe → plan → apply. The plan decides; this only carries it out, and only on the leader.

What is written comes back into the store at once, so that the next reconcile sees it before the watch does.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pagoda_operator.build.settings import BuildSettings
from pagoda_operator.cluster.apply import apply_object, apply_status, delete_object
from pagoda_operator.cluster.client import ApiError, Client
from pagoda_operator.cluster.events import apply_event
from pagoda_operator.cluster.read import read_events, read_object
from pagoda_operator.handlers.observe import read_world, sum_loads
from pagoda_operator.handlers.queue import Key
from pagoda_operator.handlers.store import MODEL, Id, Object, Store, id_of
from pagoda_operator.loads import LoadReader
from pagoda_operator.metrics import Metrics
from pagoda_operator.plan import Plan, needs_apply, plan, project
from pagoda_operator.plan.conditions import STALE_LOAD_SECONDS
from pagoda_operator.plan.ownership import can_adopt
from pagoda_operator.plan.pods import is_ready
from pagoda_operator.scrape import Load

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reconciler:
    store: Store
    client: Client
    loads: LoadReader
    metrics: Metrics
    settings: BuildSettings
    served_kinds: Callable[[], frozenset[str]]
    is_leader: Callable[[], bool]
    wall: Callable[[], float]
    _accepted: dict[Id, Object] = field(default_factory=dict)
    """What the API server made of the objects that were applied last."""
    _taken: dict[Key, tuple[str, ...]] = field(default_factory=dict)

    async def reconcile(self, key: Key) -> float | None:
        """Gives the seconds after which it wants to look again, if it does."""
        model = self.store.get(MODEL, *key)
        if model is None or "deletionTimestamp" in model["metadata"]:
            self._forget(key)
            return None
        pods = self.store.pods(key)
        loads = self.loads.known(pods)
        world = read_world(
            self.store,
            key,
            model,
            loads=loads,
            kinds=self.served_kinds(),
            events=await read_events(self.client, pods),
            taken=self._taken.get(key, ()),
            ingress_rules=self.settings.ingress,
        )
        found = plan(world, datetime.fromtimestamp(self.wall(), UTC), self.settings)
        if not self.is_leader():
            self.show(key, loads)
            return found.requeue_seconds
        try:
            taken = await self._apply(model, found)
        except ApiError as error:
            if not error.namespace_ends:
                raise
            logger.info("the namespace is being deleted namespace=%s name=%s", *key)
            return None
        self.show(key, loads)
        if taken != world.taken:
            self._taken[key] = taken
            return 0.0
        return found.requeue_seconds

    def show(self, key: Key, loads: Mapping[str, Load]) -> None:
        """Sets the model's series from what is known now, its status as it was written."""
        if (model := self.store.get(MODEL, *key)) is not None:
            show_model(self.metrics, key, model, self.store.children(key), loads)

    async def _apply(self, model: Object, found: Plan) -> tuple[str, ...]:
        """Gives the names that objects of someone else have; those are left alone."""
        taken = [name for desired in found.objects if (name := await self._apply_object(model, desired))]
        for ref in found.deletions:
            await delete_object(self.client, ref)
            logger.info("deleted kind=%s namespace=%s name=%s", ref.kind, ref.namespace, ref.name)
            self.store.forget(ref.kind, ref.namespace, ref.name, uid=ref.uid)
        if (written := await apply_status(self.client, model, found.status)) is not None:
            self.store.put(written)
        for event in found.events:
            await apply_event(
                self.client, model, type_=event.type, reason=event.reason, message=event.message, now=self.wall()
            )
        return tuple(taken)

    async def _apply_object(self, model: Object, desired: Object) -> str | None:
        id_ = id_of(desired)
        live = self.store.get(*id_)
        if not needs_apply(desired, live, accepted=self._accepted.get(id_)):
            return None
        if live is None:  # NB: the watches show only objects with our labels
            live = await read_object(self.client, desired)
        meta = model["metadata"]
        if live is not None and not can_adopt(live, name=meta["name"], uid=meta["uid"]):
            return f"{desired['kind']} {desired['metadata']['name']}"
        applied = await apply_object(self.client, desired)
        self._accepted[id_] = project(desired, applied)
        self.store.put(applied)
        logger.info("applied kind=%s namespace=%s name=%s", *id_)
        return None

    def _forget(self, key: Key) -> None:
        self.metrics.remove_model(*key)
        self._taken.pop(key, None)
        for id_ in [id_ for id_ in self._accepted if self.store.get(*id_) is None]:
            del self._accepted[id_]


def show_model(
    metrics: Metrics, key: Key, model: Object, children: Sequence[Object], loads: Mapping[str, Load]
) -> None:
    """Sets the model's series from what is known now."""
    pods = [child for child in children if child["kind"] == "Pod"]
    ready_pods = sum(map(is_ready, pods))
    hpa = next((child for child in children if child["kind"] == "HorizontalPodAutoscaler"), {})
    conditions = {c["type"]: c["status"] == "True" for c in (model.get("status") or {}).get("conditions") or ()}
    metrics.set_model(
        *key,
        {
            "ready": float(conditions.get("Ready", False)),
            "scaling_active": float(conditions["Scaling"]) if "Scaling" in conditions else None,
            "replicas": float(len(pods)),
            "ready_replicas": float(ready_pods),
            **_load_figures(ready_pods, loads),
            **_hpa_figures(hpa),
        },
    )


def _load_figures(ready_pods: int, loads: Mapping[str, Load]) -> dict[str, float | None]:
    """Known only when every ready pod has told its load, as in the status."""
    total = sum_loads(ready_pods, loads)
    if total is not None and total.age_seconds > STALE_LOAD_SECONDS:
        total = None
    return {
        "tokens_per_second": None if total is None else total.tokens_per_second,
        "capacity_tokens_per_second": None if total is None else total.capacity_tokens_per_second,
        "demand_tokens_per_second": None if total is None else sum(x.demand_tokens_per_second for x in loads.values()),
        "queued_requests": None if total is None else float(sum(x.queued for x in loads.values())),
    }


def _hpa_figures(hpa: Object) -> dict[str, float | None]:
    spec, status = hpa.get("spec", {}), hpa.get("status", {})
    figures = {"min": spec.get("minReplicas"), "max": spec.get("maxReplicas")}
    figures |= {"current": status.get("currentReplicas"), "desired": status.get("desiredReplicas")}
    return {f"hpa_{name}_replicas": None if count is None else float(count) for name, count in figures.items()}
