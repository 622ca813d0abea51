"""Keeps the pods of a revision as they are: a newer operator restarts no pod until the user changes the spec."""

import json
from dataclasses import replace
from typing import Any

from pagoda_operator.api import ModelDeployment
from pagoda_operator.build.labels import REVISION_INPUTS, Object
from pagoda_operator.build.pod import build_pod_template
from pagoda_operator.build.settings import BuildSettings
from pagoda_operator.plan.hashing import hash_of
from pagoda_operator.plan.pods import cannot_run, is_ready
from pagoda_operator.plan.world import World

_POD_FIELDS: Any = {
    "model": True,
    "engine": True,
    "resources": True,
    "queue": True,
    "auth": True,
    "scheduling": True,
    "autoscaling": {"backlog_drain_seconds"},
    "rollout": {"drain_seconds"},
}


def pod_inputs_hash(mdep: ModelDeployment) -> str:
    """Hash of what the user said about the pods; defaults are left out, for a newer operator may have others."""
    said = mdep.spec.model_dump(include=_POD_FIELDS, exclude_unset=True, mode="json")
    return hash_of({key: value for key, value in said.items() if value})


def keep_template(world: World, mdep: ModelDeployment, settings: BuildSettings) -> tuple[Object, str]:
    """The pod template, and the annotation that remembers it."""
    inputs = pod_inputs_hash(mdep)
    stored = _stored(world.child("Deployment"))
    immediately = mdep.spec.rollout.upgrade_policy == "Immediately"
    if stored and stored.get("inputs") == inputs and not immediately and not fails(world, stored["template"]):
        template = stored["template"]
    else:
        template = build_pod_template(mdep, settings)
    return template, json.dumps({"inputs": inputs, "template": template}, sort_keys=True, separators=(",", ":"))


def fails(world: World, template: Object) -> bool:
    """None of the revision's pods serves and one cannot run its images: there is nothing that is worth keeping."""
    pods = tuple(pod for pod in world.pods if _images(pod["spec"]) == _images(template["spec"]))
    return not any(map(is_ready, pods)) and cannot_run(replace(world, pods=pods))


def _images(spec: Object) -> list[str]:
    return [str(c.get("image")) for c in (*spec.get("initContainers", ()), *spec["containers"])]


def capacity_key(mdep: ModelDeployment) -> str:
    """What a measured capacity holds for: the model, the engine's settings and the hardware."""
    spec = mdep.spec.model_dump(include={"model": {"uri"}, "engine": True, "resources": True}, mode="json")
    return hash_of([spec, mdep.spec.gpus, mdep.spec.scheduling.node_selector])[:12]


def _stored(live: Object | None) -> Object | None:
    text = ((live or {}).get("metadata", {}).get("annotations") or {}).get(REVISION_INPUTS)
    if not text:
        return None
    try:
        stored: Object = json.loads(text)
    except ValueError:
        return None  # somebody edited it: the template is built anew
    return stored if isinstance(stored, dict) and isinstance(stored.get("template"), dict) else None
