"""What each replica asks of its node."""

from typing import Annotated

from pydantic import Field

from pagoda_operator.api.base import ApiModel, DnsName, Quantity, UniqueBy


class ResourceClaim(ApiModel):
    name: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)] = Field(
        description="Name of the claim within the pod."
    )
    resource_claim_template_name: DnsName | None = Field(
        default=None, description="ResourceClaimTemplate of which each pod gets a claim of its own."
    )
    resource_claim_name: DnsName | None = Field(default=None, description="ResourceClaim that all the pods share.")
    request: DnsName | None = Field(
        default=None, description="Request of the claim that the server gets. Defaults to all of them."
    )


class Resources(ApiModel):
    gpus: Annotated[int, Field(ge=0, le=64)] | None = Field(
        default=None,
        description="GPUs per replica: the same as engine.tensorParallel, or 0 to run on the CPU. Defaults to "
        "engine.tensorParallel, but to 0 for a bundled:// model that is not split.",
    )
    gpu_resource: Annotated[str, Field(pattern=r"^[a-z0-9.-]+/[A-Za-z0-9._-]+$", max_length=128)] = Field(
        default="nvidia.com/gpu",
        description="Extended resource that the GPUs are requested by; a MIG slice is e.g. nvidia.com/mig-3g.40gb.",
    )
    claims: Annotated[list[ResourceClaim], Field(max_length=8), UniqueBy("name")] | None = Field(
        default=None,
        description="Claims of dynamic resource allocation (Kubernetes 1.32 or newer) that the server's GPUs come "
        "from. With them gpuResource is not requested.",
    )
    cpu: Quantity | None = Field(
        default=None, description="CPU request of the server, e.g. 4. Defaults to 1, for a bundled:// model to 250m."
    )
    memory: Quantity | None = Field(
        default=None,
        description="Memory request and limit of the server, e.g. 16Gi. Defaults to a request of 2Gi and a limit of "
        "32Gi per GPU; for a bundled:// model to a request of 1280Mi.",
    )
    shared_memory: Quantity | None = Field(
        default=None,
        description="Size of /dev/shm, which counts as memory of the server. Defaults to 2Gi with GPUs.",
    )
    ephemeral_storage: Quantity | None = Field(
        default=None,
        description="Disk of the node for /tmp and logs: request and limit of the server. Defaults to a request of "
        "64Mi and a limit of 4Gi.",
    )
