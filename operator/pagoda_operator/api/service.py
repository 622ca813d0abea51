"""The Service in front of the replicas, as the spec says it."""

from typing import Annotated, Literal

from pydantic import Field

from pagoda_operator.api.base import Annotations, ApiModel

_NETWORK = Annotated[str, Field(pattern=r"^[0-9a-fA-F.:]+/[0-9]{1,3}$", max_length=64)]


class ServiceSettings(ApiModel):
    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] | None = Field(
        default=None,
        description="Type of the Service. Defaults to ClusterIP. The chart's models.allowed.serviceTypes lists those "
        "allowed beside it.",
    )
    annotations: Annotations | None = Field(
        default=None,
        description="Annotations of the Service. The chart's models.allowed.serviceAnnotations lists those allowed.",
    )
    load_balancer_class: Annotated[str, Field(min_length=1, max_length=253)] | None = Field(
        default=None, description="Class of the load balancer."
    )
    load_balancer_source_ranges: Annotated[list[_NETWORK], Field(max_length=32)] | None = Field(
        default=None, description="Addresses that may reach the load balancer, e.g. 192.0.2.0/24."
    )
