"""Keeps the pods of a revision as they are: a newer operator restarts no pod until the user changes the spec."""

import json
from dataclasses import replace
from typing import Any

import msgspec

from pagoda_guard.parsing import BadInput, parse_json
from pagoda_operator.api import ModelDeployment
from pagoda_operator.kube.objects import REVISION_INPUTS, REVISION_LABEL, Object
from pagoda_operator.kube.pods import is_ready
from pagoda_operator.objects.pod import build_pod_template
from pagoda_operator.objects.settings import BuildSettings
from pagoda_operator.plan.hashing import hash_of
from pagoda_operator.plan.pods import cannot_run
from pagoda_operator.plan.world import World

_POD_FIELDS: Any = {
    "profile": True,
    "image": True,
    "pod": True,
    "model": True,
    "engine": True,
    "resources": True,
    "queue": True,
    "gateway": True,
    "batch": True,
    "auth": True,
    "scheduling": True,
    "tracing": True,
    "autoscaling": {"backlog_drain_seconds"},
    "rollout": {"drain_seconds"},
}


_LATER_FIELDS: Any = {
    "batch": True,
    "profile": True,
    "image": True,
    "pod": True,
    "engine": {"nodes", "tool_parser", "reasoning_parser"},
    "gateway": True,
    "resources": {"claims", "shared_memory", "ephemeral_storage"},
    "scheduling": {"scheduler_name"},
    "tracing": True,
}
"""Fields with a default that release 0.1.0 did not have."""
_GONE_WRITTEN: Any = {"queue": {"fairness": "none"}}
"""Fields that left the resource after release 0.1.0, with the default that its API server wrote beside the others."""
_GONE_UNSET: Any = {"engine": {"speculative": None}, "resources": {"profile": None}}
"""Fields that left the resource after release 0.1.0 and were never set: they were not built."""
MAXIMUM_ANNOTATION_BYTES = 256 * 1024


class _Remembered(msgspec.Struct, frozen=True):
    inputs: str
    template: dict[str, Any]
    said: str | None = None

    def keeps(self, said: str, written: str) -> bool:
        return self.inputs == written if self.said is None else self.said == said


def pod_inputs_hash(mdep: ModelDeployment) -> str:
    """Returns the hash of what the user said about the pods, without what is a default anyway.

    The API server writes defaults into stored objects, and another release has others.
    """
    said = mdep.spec.model_dump(include=_POD_FIELDS, exclude_defaults=True, mode="json")
    return hash_of({key: value for key, value in said.items() if value})


def written_inputs_hash(mdep: ModelDeployment) -> str:
    """Returns the hash that release 0.1.0 makes, of all that is written.

    NB: it is kept for one release, so that pods survive an upgrade from 0.1.0 and a rollback to it.
    """
    said = mdep.spec.model_dump(include=_POD_FIELDS, exclude=_LATER_FIELDS, exclude_unset=True, mode="json")
    return hash_of({key: value for key, value in _with_gone(said, _GONE_WRITTEN).items() if value})


def _with_gone(said: Object, gone: Any) -> Object:
    return {key: {**value, **gone[key]} if key in gone and value else value for key, value in said.items()}


def keep_template(world: World, mdep: ModelDeployment, settings: BuildSettings) -> tuple[Object, str]:
    """Returns the pod template, and the annotation that remembers it.

    NB: a revision ends when the author changes the spec, not when the profile of that name changes.
    """
    authored = world.authored or mdep
    said, written = pod_inputs_hash(authored), written_inputs_hash(authored)
    stored = _stored(world.child("Deployment"))
    fresh = _label(build_pod_template(mdep, settings))
    kept = stored is not None and stored.keeps(said, written) and _has_containers_of(fresh, stored.template)
    immediately = mdep.spec.rollout.upgrade_policy == "Immediately"
    template = stored.template if stored and kept and not immediately and not fails(world, stored.template) else fresh
    remembered = {"inputs": written, "said": said, "template": template}
    return template, json.dumps(remembered, sort_keys=True, separators=(",", ":"))


def _label(template: Object) -> Object:
    """Returns the template with its revision as a label, so that a pod tells which revision it has."""
    labels = {**template["metadata"]["labels"], REVISION_LABEL: revision_of(template)}
    return {**template, "metadata": {**template["metadata"], "labels": labels}}


def revision_of(template: Object) -> str:
    """Returns the name of a revision: its label, or the hash of what has none."""
    return revision_label_of(template) or hash_of(template)[:10]


def revision_label_of(obj: Object) -> str | None:
    """Returns the revision that a template, or a pod of it, is labelled with; None for one of release 0.1.0."""
    found: Any = obj
    for step in ("metadata", "labels", REVISION_LABEL):  # NB: a template may come from an annotation, so from anybody
        found = found.get(step) if isinstance(found, dict) else None
    return found if isinstance(found, str) else None


def split_by_revision(world: World) -> tuple[tuple[Object, ...], tuple[Object, ...]]:
    """Returns the pods of the Deployment's current template, and those of older ones.

    NB: templates of release 0.1.0 have no label, and are kept: their pods are told apart from labelled ones only.
    """
    current = revision_label_of((world.child("Deployment") or {}).get("spec", {}).get("template") or {})
    own = tuple(pod for pod in world.pods if revision_label_of(pod) == current)
    return own, tuple(pod for pod in world.pods if revision_label_of(pod) != current)


def _has_containers_of(fresh: Object, stored: Object) -> bool:
    """Returns whether both have the same containers.

    NB: anybody who may edit Deployments may have written the annotation.
    """
    try:
        return _names(fresh) == _names(stored) and bool(_images(stored["spec"]))
    except (KeyError, TypeError, AttributeError):
        return False


def _names(template: Object) -> list[list[str]]:
    return [[str(c["name"]) for c in template["spec"][kind]] for kind in ("initContainers", "containers")]


def fails(world: World, template: Object) -> bool:
    """Returns whether none of the revision's pods serves and one cannot run its images: nothing is worth keeping."""
    pods = tuple(pod for pod in world.pods if _images(pod["spec"]) == _images(template["spec"]))
    return not any(map(is_ready, pods)) and cannot_run(replace(world, pods=pods))


def _images(spec: Object) -> list[str]:
    return [str(c.get("image")) for c in (*spec.get("initContainers", ()), *spec["containers"])]


_CAPACITY_FIELDS: Any = {"model": {"uri"}, "engine": True, "resources": True}


def capacity_key(mdep: ModelDeployment) -> str:
    """Returns what a measured capacity holds for: the model, the engine's settings and the hardware."""
    spec = mdep.spec.model_dump(include=_CAPACITY_FIELDS, exclude_defaults=True, mode="json")
    return hash_of([spec, mdep.spec.gpus, mdep.spec.scheduling.node_selector])[:12]


def written_capacity_key(mdep: ModelDeployment) -> str:
    """Returns the key that release 0.1.0 makes, with all defaults. NB: it is kept for one release."""
    spec = mdep.spec.model_dump(include=_CAPACITY_FIELDS, exclude=_LATER_FIELDS, mode="json")
    return hash_of([_with_gone(spec, _GONE_UNSET), mdep.spec.gpus, mdep.spec.scheduling.node_selector])[:12]


def _stored(live: Object | None) -> _Remembered | None:
    """Returns what the annotation remembers.

    None when there is none, or when somebody edited it: the template is built anew.
    """
    text = ((live or {}).get("metadata", {}).get("annotations") or {}).get(REVISION_INPUTS)
    if not isinstance(text, str):
        return None
    try:
        return parse_json(text.encode(), _Remembered, limit_bytes=MAXIMUM_ANNOTATION_BYTES)
    except (BadInput, UnicodeEncodeError):
        return None
