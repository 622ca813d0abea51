"""The ModelDeployment resource: its models, its rules and the CRD generated of them. It does no input or output."""

from pagoda_operator.api.model_deployment import (
    API_VERSION,
    GROUP,
    KIND,
    PLURAL,
    SHORT_NAME,
    SINGULAR,
    VERSION,
    Metadata,
    ModelDeployment,
)
from pagoda_operator.api.spec import Spec
from pagoda_operator.api.status import Status

__all__ = [
    "API_VERSION",
    "GROUP",
    "KIND",
    "PLURAL",
    "SHORT_NAME",
    "SINGULAR",
    "VERSION",
    "Metadata",
    "ModelDeployment",
    "Spec",
    "Status",
]
