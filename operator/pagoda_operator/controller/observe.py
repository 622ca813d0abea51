"""Makes a World of what the store holds and the pods say."""

import json
from collections.abc import Mapping
from typing import Any

from pagoda_operator.api.profile import Profiles, read_allowed, read_profile, read_profiles
from pagoda_operator.controller.queue import Key
from pagoda_operator.controller.store import Store
from pagoda_operator.kube.objects import Object
from pagoda_operator.kube.pods import is_ready
from pagoda_operator.objects.settings import BuildSettings, IngressRules, TracingSettings
from pagoda_operator.plan import Rival, World, world_of
from pagoda_operator.plan.loads import Load, sum_loads
from pagoda_operator.settings import Settings


def build_plan_settings(settings: Settings) -> BuildSettings:
    return BuildSettings(
        control_image=settings.control_image,
        server_image=settings.server_image,
        image_pull_policy=settings.image_pull_policy,
        image_pull_secrets=settings.image_pull_secrets,
        ingress=IngressRules(settings.ingress_hosts, settings.ingress_annotations),
        profiles=Profiles(
            read_profile("models.defaults", json.loads(settings.model_defaults)),
            read_profiles(json.loads(settings.profiles)),
        ),
        allowed=read_allowed(json.loads(settings.allowed)),
        tracing=TracingSettings(settings.tracing_endpoint, settings.tracing_sampling_ratio),
        models_size_limit=settings.models_size_limit,
        user_id=settings.user_id,
    )


def build_world(store: Store, key: Key, model: Object, *, loads: Mapping[str, Load], **seen: Any) -> World:
    pods = store.pods(key)
    return world_of(
        model,
        children=[child for child in store.children(key) if child["kind"] != "Pod"],
        pods=pods,
        ingress_classes=tuple(store.of_kind("IngressClass")),
        storage_classes=tuple(store.of_kind("StorageClass")),
        rivals=tuple(Rival(other, ingress) for other, ingress in store.rivals(model)),
        load=sum_loads(sum(map(is_ready, pods)), loads),
        **seen,
    )
