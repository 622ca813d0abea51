"""The status of a ModelDeployment. It is rebuilt from the cluster at each reconcile, but for times of transitions."""

from typing import Annotated, Literal

from pydantic import Field

from pagoda_operator.api.base import OpenModel

Figure = Annotated[float, Field(allow_inf_nan=False)]
ConditionStatus = Literal["True", "False", "Unknown"]


class Condition(OpenModel):
    type: str = Field(
        description="Ready, ModelFetched, PodsReady, Scaling, Ingress or Progressing; Reconciling or Stalled while so."
    )
    status: ConditionStatus = Field(description="True, False or Unknown.")
    reason: str = Field(default="", description="One word for programs, e.g. Unschedulable.")
    message: str = Field(default="", description="What it is about, for people.")
    observed_generation: int | None = Field(
        default=None, description="The generation of the spec that this was seen with."
    )
    last_transition_time: str = Field(
        default="", description="When status changed last.", json_schema_extra={"format": "date-time"}
    )


class CapacityStatus(OpenModel):
    tokens_per_second: Figure | None = Field(default=None, description="Tokens per second that one replica can do.")
    source: str | None = Field(default=None, description="measured (at start), observed (under load) or spec.")
    measured_at: str | None = Field(
        default=None, description="When this was measured.", json_schema_extra={"format": "date-time"}
    )
    key: str | None = Field(default=None, description="What the figure holds for; another key is measured anew.")


class LoadStatus(OpenModel):
    tokens_per_second: Figure | None = Field(default=None, description="Tokens per second that all replicas serve now.")


class Status(OpenModel):
    observed_generation: int | None = Field(default=None, description="The generation of the spec that this is about.")
    conditions: list[Condition] = Field(
        default=[], description="The state, one condition a concern.", json_schema_extra={"x-list-key": "type"}
    )
    replicas: int | None = Field(default=None, description="Pods there are.")
    ready_replicas: int | None = Field(default=None, description="Pods that answer requests.")
    selector: str | None = Field(default=None, description="Label selector of the pods, for the scale subresource.")
    url: str | None = Field(default=None, description="Base URL of the OpenAI API.")
    capacity: CapacityStatus | None = Field(default=None, description="What one replica can do.")
    load: LoadStatus | None = Field(default=None, description="What all replicas do now.")
    revision: str | None = Field(
        default=None, description="Hash of the pod template that is being served or rolled out."
    )
