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


def test_a_namespace_goes_while_the_operator_is_down(namespace: Any, wait_for: Any) -> None:
    cluster = namespace.cluster
    namespace.apply("gone")
    wait_for(lambda: namespace.pods("gone"), 60, "there is a pod")
    cluster.kubectl("-n", SYSTEM, "scale", "deployment/pagoda", "--replicas=0")
    try:
        cluster.kubectl("-n", SYSTEM, "wait", "pods", "--all", "--for=delete", "--timeout=60s")
        namespace.kubectl("delete", "modeldeployment", "gone", "--timeout=10s")
        wait_for(lambda: not left(namespace), 90, lambda: f"everything gone; left: {left(namespace)}")
        namespace.apply("again")
        cluster.kubectl("delete", "namespace", namespace.name, "--timeout=90s", timeout=120)
    finally:
        cluster.kubectl("-n", SYSTEM, "scale", "deployment/pagoda", "--replicas=1")
        cluster.kubectl("-n", SYSTEM, "rollout", "status", "deployment/pagoda", "--timeout=60s")


def test_nothing_is_left_of_the_chart(namespace: Any, pagoda: Any, wait_for: Any) -> None:
    """But the CRD, which keeps the users' models, as `crds.keep` says."""
    cluster = namespace.cluster
    values = cluster.helm("get", "values", "pagoda", "-n", SYSTEM, "-o", "json")
    cluster.helm("uninstall", "pagoda", "-n", SYSTEM, "--wait")
    try:
        wait_for(lambda: "custom.metrics" not in cluster.kubectl("get", "apiservices"), 60, "the metrics API is gone")
        kinds = "clusterroles,clusterrolebindings,crds"
        owned = cluster.kubectl("get", kinds, "-l", "app.kubernetes.io/part-of=pagoda", "-o", "name").split()
        assert [name for name in owned if "customresourcedefinition" not in name] == []
        assert "modeldeployments.pagoda.dev" in cluster.kubectl("get", "crds", "-o", "name")
    finally:
        cluster.run("helm", "install", "pagoda", "helm/pagoda", "-n", SYSTEM, "-f", "-", stdin=values)
        cluster.kubectl("-n", SYSTEM, "rollout", "status", "deployment/pagoda", "--timeout=60s")
