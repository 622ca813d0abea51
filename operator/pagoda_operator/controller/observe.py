"""Makes a World of what the store holds and the pods say."""

from collections.abc import Mapping
from statistics import fmean
from typing import Any

from pagoda_operator.cluster.loads import Load
from pagoda_operator.controller.queue import Key
from pagoda_operator.controller.store import Store
from pagoda_operator.kube.objects import Object
from pagoda_operator.kube.pods import is_ready
from pagoda_operator.objects.settings import BuildSettings, IngressRules
from pagoda_operator.plan import Load as PlanLoad
from pagoda_operator.plan import World, world_of
from pagoda_operator.settings import Settings


def build_plan_settings(settings: Settings) -> BuildSettings:
    return BuildSettings(
        control_image=settings.control_image,
        server_image=settings.server_image,
        image_pull_policy=settings.image_pull_policy,
        image_pull_secrets=settings.image_pull_secrets,
        ingress=IngressRules(settings.ingress_hosts, settings.ingress_annotations),
        models_size_limit=settings.models_size_limit,
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
    """None unless every ready pod has told its load. What full pods observed comes before what a start measured."""
    if not loads or len(loads) != ready_pods:
        return None
    known = [load for load in loads.values() if load.capacity_tokens_per_second is not None]
    observed = [load for load in known if load.capacity_source == "observed"]
    capacities = [load.capacity_tokens_per_second or 0.0 for load in observed or known]
    return PlanLoad(
        tokens_per_second=sum(load.tokens_per_second for load in loads.values()),
        capacity_tokens_per_second=fmean(capacities) if capacities else None,
        capacity_source=(observed or known)[0].capacity_source if known else None,
        ready_pods=ready_pods,
        age_seconds=max(load.age_seconds for load in loads.values()),
    )
