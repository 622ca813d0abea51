"""The next step where no node takes a pod: what it asks for and no node has, or a claim that is not there. Pure."""

import re
from collections.abc import Iterator
from typing import Any

from pagoda_cli.diagnosis.observed import Observed

GPU_RESOURCE = "nvidia.com/gpu"
_NO_CLAIM = re.compile(r'persistentvolumeclaim "([a-z0-9.-]+)" not found')


def edit(seen: Observed) -> str:
    return f"kubectl -n {seen.namespace} edit mdep {seen.name}"


def describe_pods(seen: Observed) -> str:
    return f"kubectl -n {seen.namespace} describe pods -l pagoda.dev/model-deployment={seen.name}"


def find_place(seen: Observed, message: str) -> Iterator[str]:
    """Yields what lets the scheduler place a pod of which it says that no node will do."""
    gpu = str(_section(seen, "resources").get("gpuResource") or GPU_RESOURCE)
    if "persistentvolumeclaim" in message.lower():
        yield from _find_claim(seen, message)
    elif _lacks(message, gpu):
        fields = "spec.engine.tensorParallel, and spec.resources.gpus where it is set"
        yield f"ask for no more than a node has free ({fields}): {edit(seen)}"
        yield f"how many each node has: {_show_nodes(gpu)}"
        yield f"where none has any, install its device plugin, or correct spec.resources.gpuResource (now {gpu})"
        yield "or add a node with GPUs, or free some: each replica needs its own"
    elif _lacks(message, "memory"):
        yield f"lower spec.resources.memory, or add a larger node: {edit(seen)}"
        yield f"how much each has: {_show_nodes('memory')}"
    elif _lacks(message, "cpu"):
        yield f"lower spec.resources.cpu, or add a node: {edit(seen)}"
        yield f"how much each has: {_show_nodes('cpu')}"
    elif _lacks(message, "ephemeral-storage"):
        yield f"lower spec.resources.ephemeralStorage, or add a node with a larger disk: {edit(seen)}"
    else:
        yield f"spec.scheduling (nodeSelector, tolerations, affinity) fits no node: {edit(seen)}"
        yield "what labels nodes have: kubectl get nodes --show-labels"
        yield describe_pods(seen)


def _show_nodes(resource: str) -> str:
    """Returns the command that lists the nodes with how much of a resource each has for pods."""
    column = resource.replace(".", r"\.")
    return f"kubectl get nodes -o custom-columns='NODE:.metadata.name,HAS:.status.allocatable.{column}'"


def _lacks(message: str, resource: str) -> bool:
    """Returns whether the message says that this resource is short. NB: a pod's name may hold the word, too."""
    return re.search(rf"\b(?:enough|and|Insufficient) {re.escape(resource)}(?![\w/-])", message) is not None


def _find_claim(seen: Observed, message: str) -> Iterator[str]:
    missing = _NO_CLAIM.search(message)
    if missing is None:
        yield from explain_claim(seen)
        yield "its StorageClass needs a provisioner that runs; another one: spec.model.cache.pvc.storageClassName"
        yield "kubectl get storageclass"
        return
    yield f"there is no claim {missing[1]}; those that there are: kubectl -n {seen.namespace} get pvc"
    field = "spec.model.uri" if _uri(seen).startswith("pvc://") else "spec.model.cache.existingClaim"
    yield f"create it, or correct {field}: {edit(seen)}"


def explain_claim(seen: Observed) -> Iterator[str]:
    """Yields the command that shows why the model's claim cannot be used."""
    cache, uri = _section(seen, "model").get("cache") or {}, _uri(seen)
    name = cache.get("existingClaim") or (f"{seen.name}-models" if cache.get("pvc") else "")
    name = name or (uri.removeprefix("pvc://").partition("/")[0] if uri.startswith("pvc://") else "")
    shown = f" {name}" if re.fullmatch(r"[a-z0-9.-]+", name) else ""
    yield f"kubectl -n {seen.namespace} describe pvc{shown}"


def _section(seen: Observed, name: str) -> dict[str, Any]:
    return dict((seen.mdep.get("spec") or {}).get(name) or {})


def _uri(seen: Observed) -> str:
    return str(_section(seen, "model").get("uri", ""))
