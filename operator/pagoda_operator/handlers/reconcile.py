"""One reconcile: observe → plan → apply. The plan decides; this only carries it out, and only on the leader.

What is written comes back into the store at once, so that the next reconcile sees it before the watch does.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from pagoda_operator.build.settings import BuildSettings
from pagoda_operator.cluster.apply import apply_object, apply_status, delete_object
from pagoda_operator.cluster.client import Client
from pagoda_operator.cluster.events import apply_event
from pagoda_operator.handlers.observe import read_world
from pagoda_operator.handlers.queue import Key
from pagoda_operator.handlers.store import MODEL, Object, Store
from pagoda_operator.metrics import Metrics
from pagoda_operator.plan import Plan, needs_apply, plan
from pagoda_operator.plan.pods import is_ready
from pagoda_operator.scrape import Load, Scraper

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reconciler:
    store: Store
    client: Client
    scraper: Scraper
    metrics: Metrics
    settings: BuildSettings
    served_kinds: Callable[[], frozenset[str]]
    is_leader: Callable[[], bool]
    wall: Callable[[], float]

    async def reconcile(self, key: Key) -> float | None:
        """Gives the seconds after which it wants to look again, if it does."""
        model = self.store.get(MODEL, *key)
        if model is None or "deletionTimestamp" in model["metadata"]:
            self.metrics.remove_model(*key)
            return None
        children = self.store.children(key)
        pods = [child for child in children if child["kind"] == "Pod"]
        loads = await self.scraper.read_loads(pods)
        world = read_world(self.store, key, model, loads=loads, served_kinds=self.served_kinds())
        found = plan(world, datetime.fromtimestamp(self.wall(), UTC), self.settings)
        show_model(self.metrics, key, model, pods, loads)
        if self.is_leader():
            await self._apply(key, model, found)
        return found.requeue_seconds

    async def _apply(self, key: Key, model: Object, found: Plan) -> None:
        for desired in found.objects:
            meta = desired["metadata"]
            live = self.store.get(desired["kind"], meta.get("namespace", ""), meta["name"])
            if needs_apply(desired, live):
                self.store.put(await apply_object(self.client, desired))
                logger.info("applied kind=%s namespace=%s name=%s", desired["kind"], key[0], meta["name"])
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


def show_model(metrics: Metrics, key: Key, model: Object, pods: list[Object], loads: dict[str, Load]) -> None:
    """Sets the model's series from what is known now."""
    ready = [pod for pod in pods if is_ready(pod)]
    known = bool(ready) and len(loads) == len(ready)
    status = model.get("status") or {}
    conditions = status.get("conditions") or ()
    capacities = [load.capacity_tokens_per_second for load in loads.values()]
    measured = [capacity for capacity in capacities if capacity is not None]
    metrics.set_model(
        *key,
        {
            "ready": float(any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)),
            "replicas": float(len(pods)),
            "ready_replicas": float(len(ready)),
            "tokens_per_second": sum(load.tokens_per_second for load in loads.values()) if known else None,
            "demand_tokens_per_second": (
                sum(load.demand_tokens_per_second for load in loads.values()) if known else None
            ),
            "capacity_tokens_per_second": max(measured) if measured else None,
            "queued_requests": float(sum(load.queued for load in loads.values())) if known else None,
        },
    )
