"""Kubernetes objects that go through to children: their shape, so that the API server refuses a bad one at once.

NB: a field without a shape could be nested so deep that no JSON parser reads the resource, for the whole cluster.
"""

from typing import Annotated, Literal

from pydantic import Field

from pagoda_operator.api.base import ApiModel, DnsName, LabelKey, Labels, LabelValue, Quantity

Percentage = Annotated[int, Field(ge=1, le=100)]


class LabelRequirement(ApiModel):
    key: LabelKey = Field(description="Label key.")
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"] = Field(description="How the label's value is compared.")
    values: Annotated[list[LabelValue], Field(max_length=64)] | None = Field(
        default=None, description="Values for In and NotIn."
    )


class LabelSelector(ApiModel):
    match_labels: Labels | None = Field(default=None, description="Labels that must match.")
    match_expressions: Annotated[list[LabelRequirement], Field(max_length=32)] | None = Field(
        default=None, description="Requirements that must all be met."
    )


class NodeRequirement(ApiModel):
    key: Annotated[str, Field(min_length=1, max_length=317)] = Field(description="Label key, or metadata.name.")
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"] = Field(
        description="How the label's value is compared."
    )
    values: Annotated[list[Annotated[str, Field(max_length=253)]], Field(max_length=64)] | None = Field(
        default=None, description="Values for In, NotIn, Gt and Lt."
    )


class NodeTerm(ApiModel):
    match_expressions: Annotated[list[NodeRequirement], Field(max_length=32)] | None = Field(
        default=None, description="Requirements on the node's labels."
    )
    match_fields: Annotated[list[NodeRequirement], Field(max_length=32)] | None = Field(
        default=None, description="Requirements on the node's fields (metadata.name)."
    )


class NodeSelector(ApiModel):
    node_selector_terms: Annotated[list[NodeTerm], Field(min_length=1, max_length=32)] = Field(
        description="Terms of which at least one must match."
    )


class PreferredNodes(ApiModel):
    weight: Percentage = Field(description="Weight, from 1 to 100.")
    preference: NodeTerm = Field(description="Preferred nodes.")


class NodeAffinity(ApiModel):
    required_during_scheduling_ignored_during_execution: NodeSelector | None = Field(
        default=None, description="Required nodes."
    )
    preferred_during_scheduling_ignored_during_execution: (
        Annotated[list[PreferredNodes], Field(max_length=32)] | None
    ) = Field(default=None, description="Preferred nodes, by weight.")


Keys = Annotated[list[LabelKey], Field(max_length=16)]


class PodTerm(ApiModel):
    topology_key: LabelKey = Field(description="Node label whose values define the topology domains.")
    label_selector: LabelSelector | None = Field(default=None, description="Pods that the term is about.")
    namespaces: Annotated[list[DnsName], Field(max_length=64)] | None = Field(
        default=None, description="Namespaces of these pods. Defaults to this namespace."
    )
    namespace_selector: LabelSelector | None = Field(default=None, description="Namespaces of these pods, by label.")
    match_label_keys: Keys | None = Field(default=None, description="Labels whose values must equal the new pod's.")
    mismatch_label_keys: Keys | None = Field(
        default=None, description="Labels whose values must differ from the new pod's."
    )


class PreferredPods(ApiModel):
    weight: Percentage = Field(description="Weight, from 1 to 100.")
    pod_affinity_term: PodTerm = Field(description="Preferred topology domain.")


class PodAffinity(ApiModel):
    required_during_scheduling_ignored_during_execution: Annotated[list[PodTerm], Field(max_length=32)] | None = Field(
        default=None, description="Required topology domains."
    )
    preferred_during_scheduling_ignored_during_execution: (
        Annotated[list[PreferredPods], Field(max_length=32)] | None
    ) = Field(default=None, description="Preferred topology domains, by weight.")


class Affinity(ApiModel):
    node_affinity: NodeAffinity | None = Field(default=None, description="Nodes to run on.")
    pod_affinity: PodAffinity | None = Field(default=None, description="Pods to run next to.")
    pod_anti_affinity: PodAffinity | None = Field(default=None, description="Pods not to run next to.")


class TopologySpread(ApiModel):
    max_skew: Annotated[int, Field(ge=1, le=2**31 - 1)] = Field(
        description="Maximum difference in the number of pods between topology domains; 1 or more."
    )
    topology_key: LabelKey = Field(description="Node label whose values define the topology domains.")
    when_unsatisfiable: Literal["DoNotSchedule", "ScheduleAnyway"] = Field(
        description="What to do with a pod that does not satisfy the constraint."
    )
    label_selector: LabelSelector | None = Field(
        default=None, description="Pods to count. Defaults to those of this ModelDeployment."
    )
    min_domains: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = Field(
        default=None, description="Minimum number of topology domains."
    )
    node_affinity_policy: Literal["Honor", "Ignore"] | None = Field(
        default=None, description="Whether nodes that the pods' node affinity excludes are counted."
    )
    node_taints_policy: Literal["Honor", "Ignore"] | None = Field(
        default=None, description="Whether nodes with taints that the pods do not tolerate are counted."
    )
    match_label_keys: Keys | None = Field(default=None, description="Labels whose values must equal the new pod's.")


class ScalingPolicy(ApiModel):
    type: Literal["Pods", "Percent"] = Field(description="Pods or Percent.")
    value: Annotated[int, Field(ge=1, le=2**31 - 1)] = Field(description="Number or percentage of pods; 1 or more.")
    period_seconds: Annotated[int, Field(ge=1, le=1800)] = Field(
        description="Period of the policy in seconds, from 1 to 1800."
    )


class ScalingRules(ApiModel):
    stabilization_window_seconds: Annotated[int, Field(ge=0, le=3600)] | None = Field(
        default=None, description="Seconds of past recommendations to consider, from 0 to 3600."
    )
    select_policy: Literal["Max", "Min", "Disabled"] | None = Field(
        default=None, description="Which policy applies if several do."
    )
    policies: Annotated[list[ScalingPolicy], Field(max_length=16)] | None = Field(
        default=None, description="Policies that limit the pace."
    )
    tolerance: Quantity | None = Field(
        default=None, description="Relative difference between metric and target below which nothing is scaled."
    )


class ScalingBehavior(ApiModel):
    scale_up: ScalingRules | None = Field(default=None, description="Rules for scaling up.")
    scale_down: ScalingRules | None = Field(default=None, description="Rules for scaling down.")
