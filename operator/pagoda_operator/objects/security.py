"""Security contexts that the Pod Security Standard *restricted* admits."""

from typing import Any


def build_pod_security_context(user_id: int) -> dict[str, Any]:
    """Returns the context of a pod that runs as `user_id`; with 0 the platform chooses a user, who must not be root.

    NB: OpenShift gives each namespace a range of uids, and refuses a pod that names another.
    """
    chosen = {"runAsUser": user_id, "runAsGroup": user_id, "fsGroup": user_id} if user_id else {}
    return {
        "runAsNonRoot": True,
        **chosen,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def build_container_security_context() -> dict[str, Any]:
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
