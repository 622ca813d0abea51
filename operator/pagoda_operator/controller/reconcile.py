"""One reconcile: observe → plan → apply. The plan decides; `writing` carries it out, and only on the leader."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from pagoda_operator.cluster.client import ApiError, Client
from pagoda_operator.cluster.read import read_events
from pagoda_operator.controller.load_reader import LoadReader
from pagoda_operator.controller.observe import build_world
from pagoda_operator.controller.queue import Key
from pagoda_operator.controller.store import MODEL, Store
from pagoda_operator.controller.writing import LostLead, Writer
from pagoda_operator.kube.objects import Object
from pagoda_operator.kube.pods import is_ready
from pagoda_operator.metrics import Metrics
from pagoda_operator.objects.settings import BuildSettings
from pagoda_operator.plan import ReconcilePlan, World, plan
from pagoda_operator.plan.loads import Load, sum_loads

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Reconciler:
    store: Store
    client: Client
    loads: LoadReader
    metrics: Metrics
    settings: BuildSettings
    served_kinds: Callable[[], frozenset[str]]
    is_leader: Callable[[], bool]
    wall: Callable[[], float]
    _writer: Writer = field(init=False)

    def __post_init__(self) -> None:
        self._writer = Writer(self.store, self.client, self.metrics, self.is_leader, self.wall)

    async def reconcile(self, key: Key) -> float | None:
        """Carries out the plan for one model; returns after how many seconds to look again, if at all."""
        model = self.store.get(MODEL, *key)
        if model is None or "deletionTimestamp" in model["metadata"]:
            self.metrics.remove_model(*key)
            self._writer.forget(*key)
            return None
        pods = self.store.pods(key)
        loads = self.loads.known(pods)
        world = build_world(
            self.store,
            key,
            model,
            loads=loads,
            has_stale_load=self.loads.has_stale(pods),
            kinds=self.served_kinds(),
            events=await read_events(self.client, pods),
            ingress_rules=self.settings.ingress,
        )
        now = datetime.fromtimestamp(self.wall(), UTC)
        found = plan(world, now, self.settings)
        again = found.requeue_seconds
        if self.is_leader():
            again = await self._carry_out(key, model, world, found, now)
        self.show(key, loads)
        return again

    def show(self, key: Key, loads: Mapping[str, Load]) -> None:
        """Sets the model's series from what is known now, its status as it was written."""
        if (model := self.store.get(MODEL, *key)) is not None:
            show_model(self.metrics, key, model, self.store.children(key), loads)

    async def _carry_out(
        self, key: Key, model: Object, world: World, found: ReconcilePlan, now: datetime
    ) -> float | None:
        try:
            return await self._write(model, world, found, now)
        except LostLead:
            log.info("another replica may lead: the rest is not written namespace=%s name=%s", *key)
            return None
        except ApiError as error:
            if not error.namespace_ends:
                raise
            log.info("the namespace is being deleted namespace=%s name=%s", *key)
            return None

    async def _write(self, model: Object, world: World, found: ReconcilePlan, now: datetime) -> float | None:
        """Writes the children, then the status, which says what could not be written."""
        children = await self._writer.write_children(model, found)
        if children.taken or children.refusals:
            told = replace(world, taken=tuple(children.taken), refusals=children.refusals)
            found = plan(told, now, self.settings)
        status = await self._writer.write_status(model, found.status)
        if not status.failures:
            await self._writer.write_events(model, found.events)
        if children.has_deleted:
            return 0.0
        due = (found.requeue_seconds, self._writer.soonest(children, status))
        return min((seconds for seconds in due if seconds is not None), default=None)


def show_model(
    metrics: Metrics, key: Key, model: Object, children: Sequence[Object], loads: Mapping[str, Load]
) -> None:
    """Sets the model's series from what is known now."""
    pods = [child for child in children if child["kind"] == "Pod"]
    ready_pods = sum(map(is_ready, pods))
    hpa = next((child for child in children if child["kind"] == "HorizontalPodAutoscaler"), {})
    told = (model.get("status") or {}).get("conditions") or ()
    conditions = {c["type"]: c["status"] == "True" for c in told}
    metrics.set_conditions(*key, {c["type"]: (c["reason"], c["status"] == "True") for c in told})
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
    """Returns the figures of the load, which are known only when every ready pod has told its own."""
    total = sum_loads(ready_pods, loads)
    return {
        "tokens_per_second": None if total is None else total.tokens_per_second,
        "capacity_tokens_per_second": None if total is None else total.capacity_tokens_per_second,
        "demand_tokens_per_second": None if total is None else total.demand_tokens_per_second,
        "queued_requests": None if total is None else float(total.queued),
    }


def _hpa_figures(hpa: Object) -> dict[str, float | None]:
    spec, status = hpa.get("spec", {}), hpa.get("status", {})
    figures = {"min": spec.get("minReplicas"), "max": spec.get("maxReplicas")}
    figures |= {"current": status.get("currentReplicas"), "desired": status.get("desiredReplicas")}
    return {f"hpa_{name}_replicas": None if count is None else float(count) for name, count in figures.items()}
