"""Labels, names and the references that join a child to its ModelDeployment."""

from typing import Any

from pagoda_operator.api import API_VERSION, KIND, ModelDeployment

Object = dict[str, Any]

MANAGED_BY = "pagoda"
MODEL_DEPLOYMENT_LABEL = "pagoda.dev/model-deployment"
APPLIED_HASH = "pagoda.dev/applied-hash"
REVISION_INPUTS = "pagoda.dev/revision-inputs"


def selector_labels(mdep: ModelDeployment) -> dict[str, str]:
    """The labels that never change: a Deployment's selector is immutable."""
    return {MODEL_DEPLOYMENT_LABEL: mdep.name, "app.kubernetes.io/managed-by": MANAGED_BY}


def labels(mdep: ModelDeployment) -> dict[str, str]:
    return {**selector_labels(mdep), "app.kubernetes.io/name": "pagoda-model", "app.kubernetes.io/instance": mdep.name}


def selector_text(mdep: ModelDeployment) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(selector_labels(mdep).items()))


def cache_claim_name(mdep: ModelDeployment) -> str:
    return f"{mdep.name}-models"


def build_metadata(
    mdep: ModelDeployment, *, name: str | None = None, annotations: dict[str, str] | None = None
) -> Object:
    metadata: Object = {
        "name": name or mdep.name,
        "namespace": mdep.namespace,
        "labels": labels(mdep),
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
