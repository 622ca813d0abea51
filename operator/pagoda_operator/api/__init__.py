"""The ModelDeployment resource: its models, its rules and the CRD generated of them. It does no input or output."""

from pagoda_operator.api.model_deployment import Metadata, ModelDeployment
from pagoda_operator.api.spec import Spec
from pagoda_operator.api.status import Status

__all__ = ["Metadata", "ModelDeployment", "Spec", "Status"]
