"""A person deletes a model: nothing stays behind, and nothing waits for the operator."""

from typing import Any

CHILDREN = ",".join(
    [
        "deployments",
        "pods",
        "services",
        "configmaps",
        "ingresses",
        "horizontalpodautoscalers",
        "poddisruptionbudgets",
        "networkpolicies",
        "persistentvolumeclaims",
    ]
)
SYSTEM = "pagoda-system"


def left(namespace: Any) -> list[str]:
    return [
        f"{obj['kind']}/{obj['metadata']['name']}"
        for obj in namespace.cluster.items(CHILDREN, namespace.name)
        if obj["metadata"]["name"] != "kube-root-ca.crt"
    ]


def test_deleting_a_model_leaves_nothing(namespace: Any, wait_for: Any) -> None:
    namespace.apply("gone", replicas=2, ingress={"host": "gone.example.com", "className": "nginx"})
    wait_for(lambda: namespace.pods("gone"), 60, "there is a pod")
    namespace.wait_ready("gone")
    namespace.kubectl("delete", "modeldeployment", "gone", "--timeout=10s")
    wait_for(lambda: not left(namespace), 90, lambda: f"everything gone; left: {left(namespace)}")


def test_a_model_goes_while_the_operator_is_down(namespace: Any, wait_for: Any) -> None:
    cluster = namespace.cluster
    namespace.apply("gone")
    wait_for(lambda: namespace.pods("gone"), 60, "there is a pod")
    cluster.kubectl("-n", SYSTEM, "scale", "deployment/pagoda", "--replicas=0")
    try:
        cluster.kubectl("-n", SYSTEM, "wait", "pods", "--all", "--for=delete", "--timeout=60s")
        namespace.kubectl("delete", "modeldeployment", "gone", "--timeout=10s")
        wait_for(lambda: not left(namespace), 90, lambda: f"everything gone; left: {left(namespace)}")
    finally:
        cluster.kubectl("-n", SYSTEM, "scale", "deployment/pagoda", "--replicas=1")
        cluster.kubectl("-n", SYSTEM, "rollout", "status", "deployment/pagoda", "--timeout=60s")
