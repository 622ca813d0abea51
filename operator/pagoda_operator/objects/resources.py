"""What each container asks for, and the most it may take: none is without a limit of memory and of the node's disk.

NB: a limit of disk alone would be taken for the request too, so the requests are said. The kubelet holds a pod to the
larger of what its init container and its containers may have together, volumes on the node's disk included.
"""

from pagoda_operator.api import ModelDeployment
from pagoda_operator.kube.objects import Object
from pagoda_operator.kube.quantity import parse_bytes
from pagoda_operator.objects.settings import BuildSettings

GATEWAY_MEMORY = "1Gi"
"""Some 20 KiB for each of 16,384 connections, the bodies being read, and what a process has anyhow."""
FETCH_MEMORY = "2Gi"
SERVER_MEMORY_GIB = 32
"""The limit of a server whose spec names none, per GPU: far above what weights on their way to a GPU need."""
SCRATCH_GIB = 4
"""The limit of /tmp and logs, which hold caches of kernels and downloads."""
DISK_REQUEST = "64Mi"
BUNDLED_CPU = "250m"
BUNDLED_MEMORY = "1280Mi"
"""A server of the bundled model holds some 1,150 MiB while it answers, and takes a hundredth of a core at rest."""


def gateway_resources() -> Object:
    return _resources({"cpu": "100m", "memory": "128Mi"}, {"memory": GATEWAY_MEMORY}, disk=f"{SCRATCH_GIB}Gi")


def fetch_resources(mdep: ModelDeployment, settings: BuildSettings) -> Object:
    kept = models_size_limit(mdep, settings)
    disk = f"{SCRATCH_GIB}Gi" if kept is None else str(parse_bytes(kept) + SCRATCH_GIB * 2**30)
    return _resources({"cpu": "100m", "memory": "128Mi"}, {"memory": FETCH_MEMORY}, disk=disk)


def server_resources(mdep: ModelDeployment) -> Object:
    wanted = mdep.spec.resources
    cpu, memory = (BUNDLED_CPU, BUNDLED_MEMORY) if is_bundled_on_cpu(mdep) else ("1", "2Gi")
    requests: Object = {"cpu": wanted.cpu or cpu, "memory": wanted.memory or memory}
    limits: Object = {"memory": wanted.memory or f"{SERVER_MEMORY_GIB * max(1, mdep.spec.gpus)}Gi"}
    if mdep.spec.gpus > 0 and not wanted.claims:
        requests[wanted.gpu_resource] = limits[wanted.gpu_resource] = str(mdep.spec.gpus)
    resources = _resources(requests, limits, disk=scratch_size(mdep))
    if wanted.ephemeral_storage:
        resources["requests"]["ephemeral-storage"] = wanted.ephemeral_storage
    if wanted.claims:
        fields = ({"name": claim.name, "request": claim.request} for claim in wanted.claims)
        resources["claims"] = [{key: value for key, value in claim.items() if value} for claim in fields]
    return resources


def build_resource_claims(mdep: ModelDeployment) -> list[Object]:
    """Returns the claims of the pod, whose names the server's resources give."""
    claims = mdep.spec.resources.claims or []
    return [claim.model_dump(by_alias=True, exclude_none=True, exclude={"request"}) for claim in claims]


def is_bundled_on_cpu(mdep: ModelDeployment) -> bool:
    return mdep.spec.model.uri.startswith("bundled://") and mdep.spec.gpus == 0


def scratch_size(mdep: ModelDeployment) -> str:
    return mdep.spec.resources.ephemeral_storage or f"{SCRATCH_GIB}Gi"


def models_size_limit(mdep: ModelDeployment, settings: BuildSettings) -> str | None:
    """Returns the limit of the volume with the model's files; None where a claim holds them."""
    cache = mdep.spec.model.cache
    in_claim = mdep.spec.model.uri.startswith("pvc://") or (cache is not None and (cache.pvc or cache.existing_claim))
    return None if in_claim else settings.models_size_limit


def _resources(requests: Object, limits: Object, *, disk: str) -> Object:
    return {
        "requests": {**requests, "ephemeral-storage": DISK_REQUEST},
        "limits": {**limits, "ephemeral-storage": disk},
    }
