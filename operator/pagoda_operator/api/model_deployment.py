"""The whole resource as it comes from the API server."""

from typing import Literal, Self

from pydantic import Field, model_validator

from pagoda_operator.api.base import ApiModel, OpenModel
from pagoda_operator.api.rules import broken_rules
from pagoda_operator.api.spec import Spec
from pagoda_operator.api.status import Status


class Metadata(OpenModel):
    name: str
    namespace: str = "default"
    uid: str = ""
    generation: int = 0
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None


class ModelDeployment(ApiModel):
    api_version: Literal["pagoda.dev/v1alpha1"]
    kind: Literal["ModelDeployment"]
    metadata: Metadata
    spec: Spec = Field(description="The desired state. Only model.uri is needed.")
    status: Status = Field(default=Status(), description="The observed state.")

    @model_validator(mode="after")
    def _keeps_the_rules(self) -> Self:
        messages = broken_rules(self)
        if messages:
            raise ValueError("; ".join(messages))
        return self

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def namespace(self) -> str:
        return self.metadata.namespace

    @property
    def served_model_name(self) -> str:
        return self.spec.model.name or self.metadata.name
