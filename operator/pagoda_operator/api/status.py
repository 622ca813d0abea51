"""The status of a ModelDeployment. It is rebuilt from the cluster at each reconcile, but for times of transitions."""

from typing import Annotated, Literal

from pydantic import Field

from pagoda_operator.api.base import OpenModel

Figure = Annotated[float, Field(allow_inf_nan=False)]
ConditionStatus = Literal["True", "False", "Unknown"]


class Condition(OpenModel):
    type: str = Field(
        description="Ready, ModelFetched, PodsReady, Scaling, Ingress or Progressing; also Reconciling or Stalled "
        "while that is the case."
    )
    status: ConditionStatus = Field(description="True, False or Unknown.")
    reason: str = Field(default="", description="Reason in one word, for programs, e.g. Unschedulable.")
    message: str = Field(default="", description="Details, for people.")
    observed_generation: int | None = Field(
        default=None, description="Generation of the spec that the condition was observed with."
    )
    last_transition_time: str = Field(
        default="", description="When the status last changed.", json_schema_extra={"format": "date-time"}
    )


class CapacityStatus(OpenModel):
    tokens_per_second: Figure | None = Field(default=None, description="Tokens per second that one replica can serve.")
    source: str | None = Field(default=None, description="measured (at start) or observed (under load).")
    measured_at: str | None = Field(
        default=None, description="When the capacity was determined.", json_schema_extra={"format": "date-time"}
    )
    key: str | None = Field(
        default=None,
        description="Hash of what the figure holds for (model, engine, hardware); another key is measured anew.",
    )


class LoadStatus(OpenModel):
    tokens_per_second: Figure | None = Field(
        default=None, description="Tokens per second that all replicas serve at present."
    )


class Status(OpenModel):
    observed_generation: int | None = Field(
        default=None, description="Generation of the spec that the status is about."
    )
    conditions: list[Condition] = Field(
        default=[], description="One condition per concern.", json_schema_extra={"x-list-key": "type"}
    )
    replicas: int | None = Field(default=None, description="Number of pods.")
    ready_replicas: int | None = Field(default=None, description="Number of pods that answer requests.")
    updated_replicas: int | None = Field(default=None, description="Number of pods of the current revision.")
    wanted_replicas: int | None = Field(
        default=None, description="Number of replicas wanted now: spec.replicas, or what the HPA has asked for."
    )
    ready_of_wanted: str | None = Field(
        default=None, description="readyReplicas and wantedReplicas in one, e.g. 1/2, for the column Replicas."
    )
    gpus: int | None = Field(default=None, description="GPUs that all pods together ask for.")
    selector: str | None = Field(default=None, description="Label selector of the pods, for the scale subresource.")
    url: str | None = Field(default=None, description="Base URL of the OpenAI API.")
    capacity: CapacityStatus | None = Field(default=None, description="What one replica can serve.")
    load: LoadStatus | None = Field(default=None, description="What all replicas serve at present.")
    revision: str | None = Field(
        default=None, description="Hash of the pod template that is served or being rolled out."
    )
    complete_revision: str | None = Field(
        default=None, description="The same as revision once every replica has it; absent while it is rolled out."
    )
