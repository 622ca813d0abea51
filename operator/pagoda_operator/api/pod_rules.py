"""The rules of what stands in the pods, their Service and their monitors: nothing of ours is overridden.

What an author may have of it at all is the chart's to say: `allowed.py`."""

from collections.abc import Collection
from typing import Any

from pydantic.alias_generators import to_camel

from pagoda_operator.api.base import LABEL_KEY_PATTERN, ApiModel
from pagoda_operator.api.rule import ITEMS, Rule, matches

OUR_ENV = ("HF_HOME", "HF_HUB_OFFLINE", "HF_TOKEN", "POD_NAME", "TRITON_CACHE_DIR")
"""Variables that the operator sets."""
OUR_ENV_PREFIX = "PAGODA_"
OUR_VOLUMES = ("run", "tmp", "models", "shm", "api-keys", "batch")
OUR_KEYS = r"^(([-a-z0-9.]*[.])?pagoda[.]dev|app[.]kubernetes[.]io|([-a-z0-9.]*[.])?k8s[.]io)/|^pod-template-hash$"
"""Keys of labels and annotations by which we, or Kubernetes, know pods."""


def _keys(*path: str) -> tuple[Rule, Rule]:
    """Returns the rules of the keys of labels or annotations at a path of the spec."""
    said = ".".join(map(to_camel, path))
    return (
        Rule(
            ("spec", *path),
            f"self.all(key, key.matches('{LABEL_KEY_PATTERN}'))",
            f"{said}: a key must be name or domain/name, of letters, digits, '-', '_' and '.'",
            lambda found: all(matches(LABEL_KEY_PATTERN, key) for key in found),
        ),
        Rule(
            ("spec", *path),
            f"self.all(key, !key.matches('{OUR_KEYS}'))",
            f"{said}: keys of pagoda.dev/, app.kubernetes.io/ and k8s.io/ and pod-template-hash are not yours to set: "
            "remove them",
            lambda found: not any(matches(OUR_KEYS, key) for key in found),
        ),
    )


def _one_of(path: tuple[str, ...], fields: Collection[str]) -> Rule:
    """Returns the rule that of these fields exactly one is set."""
    names = [to_camel(field) for field in fields]
    at = ".".join(to_camel(step) for step in path[1:] if step != ITEMS)
    count = " + ".join(f"(has(self.{name}) ? 1 : 0)" for name in names)
    return Rule(path, f"{count} == 1", f"{at}: set exactly one of {', '.join(names)}", lambda o: _set(o, fields) == 1)


def _set(found: ApiModel, fields: Collection[str]) -> int:
    return sum(getattr(found, field) is not None for field in fields)


def _is_balanced(service: Any) -> bool:
    only = (service.load_balancer_class, service.load_balancer_source_ranges)
    return service.type == "LoadBalancer" or not any(value is not None for value in only)


POD_RULES: tuple[Rule, ...] = (
    *_keys("pod", "labels"),
    *_keys("pod", "annotations"),
    *_keys("service", "annotations"),
    *_keys("monitoring", "labels"),
    Rule(
        ("spec", "pod", "env", ITEMS),
        f"!(self.name in {list(OUR_ENV)}) && !self.name.startsWith('{OUR_ENV_PREFIX}')",
        f"pod.env: {', '.join(OUR_ENV)} and {OUR_ENV_PREFIX}* are set by the operator: remove them (a token is "
        "model.tokenSecretRef)",
        lambda env: env.name not in OUR_ENV and not env.name.startswith(OUR_ENV_PREFIX),
    ),
    Rule(
        ("spec", "pod", "env", ITEMS),
        "!(has(self.value) && has(self.valueFrom))",
        "pod.env: set value or valueFrom, not both: remove one",
        lambda env: env.value is None or env.value_from is None,
    ),
    _one_of(("spec", "pod", "env", ITEMS, "value_from"), ("secret_key_ref", "config_map_key_ref", "field_ref")),
    _one_of(("spec", "pod", "env_from", ITEMS), ("secret_ref", "config_map_ref")),
    _one_of(
        ("spec", "pod", "volumes", ITEMS),
        ("config_map", "secret", "persistent_volume_claim", "empty_dir", "projected"),
    ),
    _one_of(("spec", "pod", "volumes", ITEMS, "projected", "sources", ITEMS), ("config_map", "secret")),
    Rule(
        ("spec", "pod", "volumes", ITEMS),
        f"!(self.name in {list(OUR_VOLUMES)})",
        f"pod.volumes: {', '.join(OUR_VOLUMES)} are names of the operator's own volumes: choose another",
        lambda volume: volume.name not in OUR_VOLUMES,
    ),
    _one_of(("spec", "resources", "claims", ITEMS), ("resource_claim_template_name", "resource_claim_name")),
    Rule(
        ("spec", "service"),
        "(has(self.type) && self.type == 'LoadBalancer') || "
        "!(has(self.loadBalancerClass) || has(self.loadBalancerSourceRanges))",
        "service: loadBalancerClass and loadBalancerSourceRanges are for type LoadBalancer: set that type, or remove "
        "them",
        _is_balanced,
    ),
)
