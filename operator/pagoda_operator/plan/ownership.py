"""Whose an object is that has the name of a child: nothing that belongs to someone else is ever written or deleted."""

from collections.abc import Mapping
from typing import Any

from pagoda_operator.kube.objects import MANAGED_BY, MANAGED_BY_LABEL, MODEL_DEPLOYMENT_LABEL


def is_controlled_by(obj: Mapping[str, Any], uid: str) -> bool:
    return any(o.get("uid") == uid and o.get("controller") for o in obj["metadata"].get("ownerReferences") or ())


def can_adopt(obj: Mapping[str, Any], *, name: str, uid: str) -> bool:
    """Returns whether the object is ours, or an orphan of a ModelDeployment of this name.

    Orphans are left by `--cascade=orphan`, for example.
    """
    owners = obj["metadata"].get("ownerReferences") or ()
    if any(owner.get("controller") for owner in owners):
        return is_controlled_by(obj, uid)
    labels = obj["metadata"].get("labels") or {}
    return labels.get(MODEL_DEPLOYMENT_LABEL) == name and labels.get(MANAGED_BY_LABEL) == MANAGED_BY
