"""An editor of one namespace tries to end the operator and to use its rights; another namespace's model serves on."""

import json
from pathlib import Path
from typing import Any

import pytest

HOSTILE = (Path(__file__).parent / "hostile_pod.py").read_text()
SYSTEM = "pagoda-system"
HOST = "victim.example.com"
FAST = {"scaleUp": {"stabilizationWindowSeconds": 0}}
SNIPPET = {"nginx.ingress.kubernetes.io/configuration-snippet": "return 200;"}
REFUSED_INGRESSES = {
    "snippet": {"host": "snippet.example.com", "className": "nginx", "annotations": SNIPPET},
    "foreign-host": {"host": "bank.example", "className": "nginx"},
}
ODD_SPECS: dict[str, dict[str, Any]] = {
    "odd-host": {"ingress": {"host": "a..b", "className": "nginx"}},
    "odd-selector": {"scheduling": {"nodeSelector": {"a b": "c"}}},
    "odd-affinity": {"scheduling": {"affinity": {"nodeAffinity": {"nonsense": 1}}}},
}


class Stranger:
    """Whoever has the role `edit` in one namespace, and nothing else."""

    def __init__(self, namespace: Any) -> None:
        self._namespace = namespace
        self._user = f"system:serviceaccount:{namespace.name}:stranger"
        namespace.kubectl("create", "serviceaccount", "stranger")
        bound = f"--serviceaccount={namespace.name}:stranger"
        namespace.kubectl("create", "rolebinding", "stranger", "--clusterrole=edit", bound)

    def apply(self, kind: str, api_version: str, name: str, **content: Any) -> str:
        """What kubectl says; a refusal too."""
        obj = {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, **content.pop("metadata", {})}}
        command = ("--as", self._user, "apply", "-f", "-")
        return str(self._namespace.kubectl(*command, stdin=json.dumps(obj | content), check=False))

    def apply_model(self, name: str, **spec: Any) -> str:
        small = {"model": {"uri": "bundled://pagoda-tiny"}, "resources": {"cpu": "50m"}}
        return self.apply("ModelDeployment", "pagoda.dev/v1alpha1", name, spec=small | spec)


def operator_pod(cluster: Any) -> dict[str, Any]:
    (pod,) = cluster.items("pods", SYSTEM, "-l", "app.kubernetes.io/name=pagoda")
    return dict(pod)


def restarts(pod: dict[str, Any]) -> tuple[str, int]:
    return pod["metadata"]["uid"], sum(status["restartCount"] for status in pod["status"]["containerStatuses"])


@pytest.fixture
def victim(pagoda: Any, make_namespace: Any) -> Any:
    namespace = make_namespace()
    scaling = {"minReplicas": 1, "maxReplicas": 2, "targetUtilization": 0.05, "behavior": FAST}
    namespace.apply("victim", autoscaling=scaling, ingress={"host": HOST, "className": "nginx"})
    namespace.wait_ready("victim")
    namespace.wait_routed(HOST)
    return namespace


def test_an_editor_of_one_namespace_harms_no_other(victim: Any, make_namespace: Any, wait_for: Any) -> None:
    cluster, theirs = victim.cluster, make_namespace()
    stranger, before = Stranger(theirs), restarts(operator_pod(victim.cluster))
    with victim.streaming("victim", HOST, streams=4, seconds=75) as load:
        assert "created" in stranger.apply_model("target", replicas=0)
        labels = {"pagoda.dev/model-deployment": "target", "app.kubernetes.io/managed-by": "pagoda"}
        hostile = {"name": "hostile", "image": cluster.control_image, "command": ["python", "-c", HOSTILE]}
        for number in range(4):
            pod = {"containers": [hostile], "automountServiceAccountToken": False}
            made = stranger.apply("Pod", "v1", f"hostile-{number}", metadata={"labels": labels}, spec=pod)
            assert "created" in made, made
        theirs.kubectl("wait", "--for=condition=Ready", "pod", "-l", "pagoda.dev/model-deployment=target")
        for name, ingress in REFUSED_INGRESSES.items():
            assert "created" in stranger.apply_model(name, replicas=0, ingress=ingress)
            theirs.wait_reason(name, "IngressNotAllowed", type_="Ingress")
        for name, spec in ODD_SPECS.items():
            said = stranger.apply_model(name, replicas=0, **spec)
            assert "created" not in said or theirs.wait_reason(name, "ApplyFailed"), said
        wait_for(lambda: victim.ready_replicas("victim") == 2, 120, lambda: victim.kubectl("describe", "hpa"))
        counts = load.wait_counts()
    assert counts["whole"] > 0 and counts["cut"] == counts["failed"] == 0, counts
    assert restarts(operator_pod(cluster)) == before
    assert "custom.metrics.k8s.io" in cluster.kubectl("get", "apiservices", "-o", "name")
    assert theirs.model("target")["status"]["readyReplicas"] == 0, "the hostile pods are nobody's replicas"
    assert not theirs.kubectl("get", "ingresses", "-o", "name").strip()
