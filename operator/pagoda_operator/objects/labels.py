"""Labels, names and the references that join a child to its ModelDeployment."""

from pagoda_operator.api import ModelDeployment
from pagoda_operator.kube.objects import (
    API_VERSION,
    INSTANCE_LABEL,
    KIND,
    MANAGED_BY,
    MANAGED_BY_LABEL,
    MODEL_DEPLOYMENT_LABEL,
    NAME_LABEL,
    Object,
)


def selector_labels(mdep: ModelDeployment) -> dict[str, str]:
    """Returns the labels that never change: a Deployment's selector is immutable."""
    return {MODEL_DEPLOYMENT_LABEL: mdep.name, MANAGED_BY_LABEL: MANAGED_BY}


def labels(mdep: ModelDeployment) -> dict[str, str]:
    return {**selector_labels(mdep), NAME_LABEL: "pagoda-model", INSTANCE_LABEL: mdep.name}


def selector_text(mdep: ModelDeployment) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(selector_labels(mdep).items()))


def cache_claim_name(mdep: ModelDeployment) -> str:
    return f"{mdep.name}-models"


def build_metadata(
    mdep: ModelDeployment,
    *,
    name: str | None = None,
    annotations: dict[str, str] | None = None,
    further_labels: dict[str, str] | None = None,
) -> Object:
    metadata: Object = {
        "name": name or mdep.name,
        "namespace": mdep.namespace,
        "labels": {**(further_labels or {}), **labels(mdep)},
        "ownerReferences": [
            {
                "apiVersion": API_VERSION,
                "kind": KIND,
                "name": mdep.name,
                "uid": mdep.metadata.uid,
                "controller": True,
                "blockOwnerDeletion": False,
            }
        ],
    }
    if annotations:
        metadata["annotations"] = annotations
    return metadata
