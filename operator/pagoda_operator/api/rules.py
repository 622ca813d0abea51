"""The rules that join fields: one table for the CRD's CEL and for pydantic.

A rule holds at one object of the spec; where that object is absent the rule holds. Each message tells the fix."""

from collections.abc import Iterator
from typing import Any

from pydantic.alias_generators import to_camel

from pagoda_operator.api import spec as s
from pagoda_operator.api.base import LABEL_KEY_PATTERN
from pagoda_operator.api.objectives import FIRST_TOKEN_BOUNDS, TOKEN_BOUNDS
from pagoda_operator.api.pod_rules import POD_RULES
from pagoda_operator.api.rule import ITEMS, Rule, matches

MAX_NAME_LENGTH = 40
_URI = (
    r"^(hf://[A-Za-z0-9._-]+/[A-Za-z0-9._-]+(@[A-Za-z0-9._/-]+)?"
    r"|pvc://[a-z0-9]([-a-z0-9.]*[a-z0-9])?(/[A-Za-z0-9._/-]*)?"
    r"|bundled://[a-z0-9][a-z0-9.-]*)$"
)


def _bound(field: str, bounds: tuple[float, ...]) -> Rule:
    """Returns the rule that an objective's time is one that its histogram counts by."""
    name = to_camel(field)
    listed = ", ".join(f"{bound:g}" for bound in bounds)
    return Rule(
        ("spec", "monitoring", "objectives"),
        f"!has(self.{name}) || self.{name} in [{', '.join(map(str, map(float, bounds)))}]",
        f"monitoring.objectives.{name} must be a bound of the histogram that counts it: choose one of {listed}",
        lambda o: getattr(o, field) is None or getattr(o, field) in bounds,
    )


def _transition(path: str, cel: str, message: str) -> Rule:
    """Returns a rule that only the API server can check, because only it sees what the object was before."""
    return Rule(tuple(path.split(".")), cel, message, lambda _: True)


def _surge_or_unavailable(rollout: s.Rollout) -> bool:
    return rollout.max_surge not in (0, "0%") or rollout.max_unavailable not in (0, "0%")


def _gpus_agree(spec: s.Spec) -> bool:
    gpus, ranks = spec.resources.gpus, spec.engine.tensor_parallel
    return gpus in (None, ranks) or (gpus == 0 and ranks == 1)


def _deterministic_can_be(spec: s.Spec) -> bool:
    engine = spec.engine
    is_plain = engine.quantization != "fp8" and engine.dtype != "float32"
    return not engine.deterministic or (is_plain and engine.tensor_parallel == 1 and spec.resources.gpus != 0)


def _batch_has_a_place(spec: s.Spec) -> bool:
    batch, cache = spec.batch, spec.model.cache
    if batch is None or batch.s3 or batch.existing_claim:
        return True
    return cache is not None and (cache.pvc is not None or cache.existing_claim is not None)


def _path_has_no_dots(model: s.Model) -> bool:
    return not (model.uri.startswith("pvc://") and ".." in model.uri)


RULES: tuple[Rule, ...] = (
    Rule(
        (),
        f"size(self.metadata.name) <= {MAX_NAME_LENGTH}",
        f"metadata.name may have at most {MAX_NAME_LENGTH} characters, because the names of child objects are derived "
        "from it: choose a shorter name",
        lambda o: len(o.metadata.name) <= MAX_NAME_LENGTH,
    ),
    Rule(
        (),
        "self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
        "metadata.name must start with a letter and have only a-z, 0-9 and '-', because a Service has the same name",
        lambda o: matches(r"^[a-z]([-a-z0-9]*[a-z0-9])?\Z", o.metadata.name),
    ),
    Rule(
        ("spec",),
        "!(has(self.replicas) && has(self.autoscaling))",
        "set replicas (a fixed number) or autoscaling, not both: remove spec.replicas, or remove spec.autoscaling",
        lambda o: o.replicas is None or o.autoscaling is None,
    ),
    Rule(
        ("spec",),
        "!has(self.resources) || !has(self.resources.gpus) || self.resources.gpus == (has(self.engine) && "
        "has(self.engine.tensorParallel) ? self.engine.tensorParallel : 1) || (self.resources.gpus == 0 && "
        "!(has(self.engine) && has(self.engine.tensorParallel) && self.engine.tensorParallel > 1))",
        "resources.gpus must be engine.tensorParallel, the number of GPUs that the model is split across: remove "
        "resources.gpus, or set both to the same number",
        _gpus_agree,
    ),
    Rule(
        ("spec",),
        "!has(self.engine) || !has(self.engine.deterministic) || !self.engine.deterministic || "
        "!((has(self.engine.quantization) && self.engine.quantization == 'fp8') || "
        "(has(self.engine.dtype) && self.engine.dtype == 'float32') || "
        "(has(self.engine.tensorParallel) && self.engine.tensorParallel > 1) || "
        "(has(self.resources) && has(self.resources.gpus) && self.resources.gpus == 0))",
        "engine.deterministic is for 16-bit weights on one GPU: remove it, or remove quantization fp8, dtype float32, "
        "tensorParallel and gpus 0",
        _deterministic_can_be,
    ),
    Rule(
        ("spec",),
        "!(has(self.engine) && has(self.engine.tensorParallel) && self.engine.tensorParallel > 1 && "
        "has(self.resources) && has(self.resources.gpuResource) && self.resources.gpuResource.contains('/mig-'))",
        "resources.gpuResource: MIG slices cannot share a model, because a process sees one of them: remove "
        "engine.tensorParallel, or ask for whole GPUs",
        lambda o: o.engine.tensor_parallel == 1 or "/mig-" not in o.resources.gpu_resource,
    ),
    Rule(
        ("spec", "engine"),
        "!has(self.nodes) || self.nodes == 1",
        "engine.nodes: a replica on several nodes (LeaderWorkerSet) is not built yet: remove it, and let "
        "engine.tensorParallel be at most the GPUs of one node",
        lambda engine: engine.nodes in (None, 1),
    ),
    Rule(
        ("spec", "model"),
        f"self.uri.matches('{_URI}')",
        "model.uri must be hf://org/name, hf://org/name@revision, pvc://claim/path or bundled://pagoda-tiny",
        lambda o: matches(_URI[:-1] + r"\Z", o.uri),
    ),
    Rule(
        ("spec", "model"),
        "!(self.uri.startsWith('pvc://') && self.uri.contains('..'))",
        "model.uri: the path of a pvc:// URI may not have '..'",
        _path_has_no_dots,
    ),
    Rule(
        ("spec", "model"),
        "self.uri.startsWith('hf://') || !has(self.cache) || !(has(self.cache.pvc) || has(self.cache.existingClaim))",
        "model.cache is only for models that are downloaded (hf://): remove model.cache",
        lambda o: o.uri.startswith("hf://") or o.cache is None or not (o.cache.pvc or o.cache.existing_claim),
    ),
    Rule(
        ("spec", "model", "cache"),
        "!(has(self.pvc) && has(self.existingClaim))",
        "set cache.pvc (a new claim) or cache.existingClaim (a claim of yours), not both: remove one",
        lambda o: o.pvc is None or o.existing_claim is None,
    ),
    Rule(
        ("spec",),
        "!has(self.batch) || has(self.batch.s3) || has(self.batch.existingClaim) || (has(self.model.cache) && "
        "(has(self.model.cache.pvc) || has(self.model.cache.existingClaim)))",
        "batch is kept on the model's cache volume, and there is none: set model.cache, batch.existingClaim or "
        "batch.s3",
        _batch_has_a_place,
    ),
    Rule(
        ("spec", "batch"),
        "!(has(self.existingClaim) && has(self.s3))",
        "set batch.existingClaim (a claim of yours) or batch.s3 (a bucket), not both: remove one",
        lambda o: o.existing_claim is None or o.s3 is None,
    ),
    _transition(
        "spec.model.cache.pvc",
        "has(self.storageClassName) == has(oldSelf.storageClassName) && "
        "(!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName)",
        "cache.pvc.storageClassName cannot change once the claim exists: set it back, or create another "
        "ModelDeployment with the new class and delete this one",
    ),
    _transition(
        "spec.model.cache.pvc",
        "self.accessMode == oldSelf.accessMode",
        "cache.pvc.accessMode cannot change once the claim exists: set it back, or create another ModelDeployment with "
        "the new mode and delete this one",
    ),
    _transition(
        "spec.model.cache.pvc",
        "quantity(string(self.size)).compareTo(quantity(string(oldSelf.size))) >= 0",
        "cache.pvc.size may only grow: set it to its former value or to more",
    ),
    Rule(
        ("spec", "scheduling", "node_selector"),
        f"self.all(key, key.matches('{LABEL_KEY_PATTERN}'))",
        "scheduling.nodeSelector: a key must be a label key, name or domain/name, of letters, digits, '-', '_' and '.'",
        lambda labels: all(matches(LABEL_KEY_PATTERN, key) for key in labels),
    ),
    Rule(
        ("spec", "scheduling", "tolerations", ITEMS),
        "(has(self.key) && self.key != '') || (has(self.operator) && self.operator == 'Exists')",
        "scheduling.tolerations: without a key the operator must be Exists, which tolerates every taint",
        lambda toleration: bool(toleration.key) or toleration.operator == "Exists",
    ),
    Rule(
        ("spec", "scheduling", "tolerations", ITEMS),
        "!(has(self.operator) && self.operator == 'Exists' && has(self.value) && self.value != '')",
        "scheduling.tolerations: with the operator Exists there is no value: remove value, or set operator Equal",
        lambda toleration: not (toleration.operator == "Exists" and toleration.value),
    ),
    Rule(
        ("spec", "scheduling", "tolerations", ITEMS),
        "!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
        "scheduling.tolerations: tolerationSeconds is for the effect NoExecute: set that effect, or remove "
        "tolerationSeconds",
        lambda toleration: toleration.toleration_seconds is None or toleration.effect == "NoExecute",
    ),
    Rule(
        ("spec", "scheduling", "topology_spread", ITEMS),
        "!has(self.minDomains) || self.whenUnsatisfiable == 'DoNotSchedule'",
        "scheduling.topologySpread: minDomains is for whenUnsatisfiable DoNotSchedule: set that, or remove minDomains",
        lambda spread: "minDomains" not in spread or spread["whenUnsatisfiable"] == "DoNotSchedule",
    ),
    Rule(
        ("spec", "autoscaling"),
        "!has(self.minReplicas) || self.minReplicas <= self.maxReplicas",
        "autoscaling.minReplicas must not be above autoscaling.maxReplicas: raise maxReplicas or lower minReplicas",
        lambda o: o.min_replicas <= o.max_replicas,
    ),
    Rule(
        ("spec", "rollout"),
        "!(has(self.maxSurge) && has(self.maxUnavailable)) || !(string(self.maxSurge) in ['0', '0%'] "
        "&& string(self.maxUnavailable) in ['0', '0%'])",
        "rollout.maxSurge and rollout.maxUnavailable may not both be 0: set one of them to 1",
        _surge_or_unavailable,
    ),
    _bound("time_to_first_token_seconds", FIRST_TOKEN_BOUNDS),
    _bound("inter_token_latency_seconds", TOKEN_BOUNDS),
    *POD_RULES,
)


def broken_rules(resource: Any) -> list[str]:
    """Returns the messages of the rules that the parsed resource breaks, in the table's order."""
    return [rule.message for rule in RULES if not _holds(rule, resource)]


def _holds(rule: Rule, resource: Any) -> bool:
    return all(rule.holds(at) for at in _found_at(rule.path, resource))


def _found_at(path: tuple[str, ...], at: Any) -> Iterator[Any]:
    if at is None:
        return
    if not path:
        yield at
        return
    step, rest = path[0], path[1:]
    for below in at if step == ITEMS else (getattr(at, step),):
        yield from _found_at(rest, below)
