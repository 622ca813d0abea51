"""Makes a World of what the store holds and the pods say."""

from collections.abc import Mapping
from typing import Any

from pagoda_operator.build.settings import BuildSettings
from pagoda_operator.handlers.queue import Key
from pagoda_operator.handlers.store import Object, Store
from pagoda_operator.plan import Load as PlanLoad
from pagoda_operator.plan import World, world_of
from pagoda_operator.plan.pods import is_ready
from pagoda_operator.scrape import Load
from pagoda_operator.settings import Settings


def build_plan_settings(settings: Settings) -> BuildSettings:
    return BuildSettings(
        control_image=settings.control_image,
        server_image=settings.server_image,
        image_pull_policy=settings.image_pull_policy,
        image_pull_secrets=settings.image_pull_secrets,
    )


def read_world(store: Store, key: Key, model: Object, *, loads: Mapping[str, Load], **seen: Any) -> World:
    pods = store.pods(key)
    return world_of(
        model,
        children=[child for child in store.children(key) if child["kind"] != "Pod"],
        pods=pods,
        ingress_classes=tuple(store.of_kind("IngressClass")),
        storage_classes=tuple(store.of_kind("StorageClass")),
        load=sum_loads(sum(map(is_ready, pods)), loads),
        **seen,
    )


def sum_loads(ready_pods: int, loads: Mapping[str, Load]) -> PlanLoad | None:
    """None unless every ready pod has told its load."""
    if not loads or len(loads) != ready_pods:
        return None
    measured = [load for load in loads.values() if load.capacity_tokens_per_second is not None]
    best = max(measured, key=lambda load: load.capacity_tokens_per_second or 0.0, default=None)
    return PlanLoad(
        tokens_per_second=sum(load.tokens_per_second for load in loads.values()),
        capacity_tokens_per_second=best.capacity_tokens_per_second if best else None,
        capacity_source=best.capacity_source if best else None,
        ready_pods=ready_pods,
        age_seconds=0.0,
    )
