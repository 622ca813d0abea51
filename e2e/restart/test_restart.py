"""The operator dies: the models serve on, and what was asked for meanwhile is done after it is back."""

from typing import Any

SYSTEM = "pagoda-system"


def states(namespace: Any, name: str) -> dict[str, int]:
    """Restarts of each pod, by its uid."""
    return {
        pod["metadata"]["uid"]: sum(
            status["restartCount"]
            for kind in ("containerStatuses", "initContainerStatuses")
            for status in pod["status"].get(kind, [])
        )
        for pod in namespace.pods(name)
    }


def test_a_killed_operator_restarts_no_model_and_catches_up(namespace: Any, wait_for: Any) -> None:
    cluster = namespace.cluster
    namespace.apply("stays")
    namespace.wait_ready("stays")
    before = states(namespace, "stays")
    cluster.kubectl("-n", SYSTEM, "delete", "pods", "--all", "--grace-period=0", "--force", "--wait=false")
    namespace.apply("meanwhile")
    namespace.kubectl("delete", "service", "stays")
    cluster.kubectl("-n", SYSTEM, "rollout", "status", "deployment/pagoda", "--timeout=60s")
    namespace.wait_ready("meanwhile")
    wait_for(lambda: "stays" in namespace.kubectl("get", "services", "-o", "name"), 60, "the Service is back")
    assert states(namespace, "stays") == before
