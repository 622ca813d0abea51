"""Where the pods of a ModelDeployment run, as the spec says it."""

from typing import Annotated, Any, Literal

from pydantic import Field

from pagoda_operator.api.base import LABEL_KEY_PATTERN, ApiModel, DnsName, Labels, LabelValue, ShapeOf
from pagoda_operator.api.shapes import Affinity, TopologySpread


class Toleration(ApiModel):
    key: Annotated[str, Field(pattern=LABEL_KEY_PATTERN + "|^$", max_length=317)] | None = Field(
        default=None,
        description="Taint key. If empty, with operator Exists, it matches all keys.",
    )
    operator: Literal["Exists", "Equal"] | None = Field(default=None, description="Exists or Equal. Defaults to Equal.")
    value: LabelValue | None = Field(default=None, description="Taint value for Equal.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None,
        description="Taint effect. If empty, it matches all effects.",
    )
    toleration_seconds: Annotated[int, Field(ge=-(2**53), le=2**53)] | None = Field(
        default=None, description="How long a NoExecute taint is tolerated. Defaults to forever."
    )


class Scheduling(ApiModel):
    node_selector: Labels | None = Field(default=None, description="Labels that a node must have.")
    tolerations: Annotated[list[Toleration], Field(max_length=32)] | None = Field(
        default=None, description="Node taints that the pods tolerate."
    )
    affinity: Annotated[dict[str, Any], ShapeOf(Affinity)] | None = Field(
        default=None, description="Affinity of the pods, as in a PodSpec."
    )
    priority_class_name: DnsName | None = Field(default=None, description="PriorityClass of the pods.")
    topology_spread: Annotated[list[Annotated[dict[str, Any], ShapeOf(TopologySpread)]], Field(max_length=8)] | None = (
        Field(
            default=None,
            description="topologySpreadConstraints of the pods. labelSelector defaults to the pods of this "
            "ModelDeployment.",
        )
    )
    runtime_class_name: DnsName | None = Field(default=None, description="RuntimeClass of the pods, e.g. nvidia.")
    scheduler_name: DnsName | None = Field(
        default=None, description="Scheduler of the pods. Defaults to the cluster's default scheduler."
    )
