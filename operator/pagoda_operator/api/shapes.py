"""Kubernetes objects that go through to children: their shape, so that the API server refuses a bad one at once.

NB: a field without a shape could be nested so deep that no JSON parser reads the resource, for the whole cluster.
"""

from typing import Annotated, Literal

from pydantic import Field

from pagoda_operator.api.base import ApiModel, DnsName, LabelKey, Labels, LabelValue, Quantity

Percentage = Annotated[int, Field(ge=1, le=100)]


class LabelRequirement(ApiModel):
    key: LabelKey = Field(description="Label key.")
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"] = Field(description="How the label is compared.")
    values: Annotated[list[LabelValue], Field(max_length=64)] | None = Field(
        default=None, description="Values for In and NotIn."
    )


class LabelSelector(ApiModel):
    match_labels: Labels | None = Field(default=None, description="Labels that must be there.")
    match_expressions: Annotated[list[LabelRequirement], Field(max_length=32)] | None = Field(
        default=None, description="Requirements that must hold."
    )


class NodeRequirement(ApiModel):
    key: Annotated[str, Field(min_length=1, max_length=317)] = Field(description="Label key, or metadata.name.")
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"] = Field(
        description="How the label is compared."
    )
    values: Annotated[list[Annotated[str, Field(max_length=253)]], Field(max_length=64)] | None = Field(
        default=None, description="Values for In, NotIn, Gt and Lt."
    )


class NodeTerm(ApiModel):
    match_expressions: Annotated[list[NodeRequirement], Field(max_length=32)] | None = Field(
        default=None, description="Requirements on labels of the node."
    )
    match_fields: Annotated[list[NodeRequirement], Field(max_length=32)] | None = Field(
        default=None, description="Requirements on fields of the node (metadata.name)."
    )


class NodeSelector(ApiModel):
    node_selector_terms: Annotated[list[NodeTerm], Field(min_length=1, max_length=32)] = Field(
        description="Terms, of which one must hold."
    )


class PreferredNodes(ApiModel):
    weight: Percentage = Field(description="1 to 100.")
    preference: NodeTerm = Field(description="The nodes that are preferred.")


class NodeAffinity(ApiModel):
    required_during_scheduling_ignored_during_execution: NodeSelector | None = Field(
        default=None, description="Nodes that are required."
    )
    preferred_during_scheduling_ignored_during_execution: (
        Annotated[list[PreferredNodes], Field(max_length=32)] | None
    ) = Field(default=None, description="Nodes that are preferred.")


Keys = Annotated[list[LabelKey], Field(max_length=16)]


class PodTerm(ApiModel):
    topology_key: LabelKey = Field(description="Label of nodes that makes the places.")
    label_selector: LabelSelector | None = Field(default=None, description="The pods that are meant.")
    namespaces: Annotated[list[DnsName], Field(max_length=64)] | None = Field(
        default=None, description="Namespaces of those pods. Absent: this one."
    )
    namespace_selector: LabelSelector | None = Field(default=None, description="Namespaces of those pods, by label.")
    match_label_keys: Keys | None = Field(default=None, description="Labels whose values must be those of the new pod.")
    mismatch_label_keys: Keys | None = Field(
        default=None, description="Labels whose values must not be those of the new pod."
    )


class PreferredPods(ApiModel):
    weight: Percentage = Field(description="1 to 100.")
    pod_affinity_term: PodTerm = Field(description="The place that is preferred.")


class PodAffinity(ApiModel):
    required_during_scheduling_ignored_during_execution: Annotated[list[PodTerm], Field(max_length=32)] | None = Field(
        default=None, description="Places that are required."
    )
    preferred_during_scheduling_ignored_during_execution: (
        Annotated[list[PreferredPods], Field(max_length=32)] | None
    ) = Field(default=None, description="Places that are preferred.")


class Affinity(ApiModel):
    node_affinity: NodeAffinity | None = Field(default=None, description="Which nodes.")
    pod_affinity: PodAffinity | None = Field(default=None, description="Beside which pods.")
    pod_anti_affinity: PodAffinity | None = Field(default=None, description="Not beside which pods.")


class TopologySpread(ApiModel):
    max_skew: Annotated[int, Field(ge=1, le=2**31 - 1)] = Field(
        description="How many pods more one place may have than another: 1 or more."
    )
    topology_key: LabelKey = Field(description="Label of nodes that makes the places.")
    when_unsatisfiable: Literal["DoNotSchedule", "ScheduleAnyway"] = Field(description="What else is done.")
    label_selector: LabelSelector | None = Field(
        default=None, description="The pods that are counted. Absent: those of this ModelDeployment."
    )
    min_domains: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = Field(default=None, description="Fewest places.")
    node_affinity_policy: Literal["Honor", "Ignore"] | None = Field(
        default=None, description="Whether nodes that the pods may not use count."
    )
    node_taints_policy: Literal["Honor", "Ignore"] | None = Field(
        default=None, description="Whether nodes with taints that the pods do not accept count."
    )
    match_label_keys: Keys | None = Field(default=None, description="Labels whose values must be those of the new pod.")


class ScalingPolicy(ApiModel):
    type: Literal["Pods", "Percent"] = Field(description="Pods or Percent.")
    value: Annotated[int, Field(ge=1, le=2**31 - 1)] = Field(description="How many: 1 or more.")
    period_seconds: Annotated[int, Field(ge=1, le=1800)] = Field(description="In which time: 1 to 1800.")


class ScalingRules(ApiModel):
    stabilization_window_seconds: Annotated[int, Field(ge=0, le=3600)] | None = Field(
        default=None, description="How long the past is looked at: 0 to 3600."
    )
    select_policy: Literal["Max", "Min", "Disabled"] | None = Field(
        default=None, description="Which of the policies counts."
    )
    policies: Annotated[list[ScalingPolicy], Field(max_length=16)] | None = Field(
        default=None, description="How fast it may go."
    )
    tolerance: Quantity | None = Field(default=None, description="Which difference is none.")


class ScalingBehavior(ApiModel):
    scale_up: ScalingRules | None = Field(default=None, description="Towards more replicas.")
    scale_down: ScalingRules | None = Field(default=None, description="Towards fewer replicas.")
