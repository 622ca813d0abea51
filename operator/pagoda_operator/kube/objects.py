"""What a Kubernetes object is here, and the names by which the operator knows its own."""

from typing import Any

Object = dict[str, Any]
"""A Kubernetes object as JSON gives it."""

GROUP = "pagoda.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "ModelDeployment"
SINGULAR = "modeldeployment"
PLURAL = "modeldeployments"
SHORT_NAME = "mdep"

MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
MANAGED_BY = "pagoda"
NAME_LABEL = "app.kubernetes.io/name"
INSTANCE_LABEL = "app.kubernetes.io/instance"
MODEL_DEPLOYMENT_LABEL = f"{GROUP}/model-deployment"
REVISION_LABEL = f"{GROUP}/revision"
APPLIED_HASH = f"{GROUP}/applied-hash"
REVISION_INPUTS = f"{GROUP}/revision-inputs"
WRITTEN_REPLICAS = f"{GROUP}/written-replicas"
