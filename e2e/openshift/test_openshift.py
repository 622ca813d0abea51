"""Operator and models run where the platform chooses the uids and refuses others, as OpenShift's default SCC does."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SCC = str(Path(__file__).with_name("scc.yaml"))
SYSTEM = "pagoda-system"
ASSIGNED_ID = 1000650000


def build_pod(user_id: int) -> dict[str, Any]:
    """Returns a pod that names its user."""
    container = {"name": "any", "image": "any"}
    spec = {"containers": [container], "securityContext": {"runAsUser": user_id, "fsGroup": user_id}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "any"}, "spec": spec}


@pytest.fixture
def assigning(namespace: Any, wait_for: Any) -> Iterator[Any]:
    """Yields a namespace where, as in the operator's, uids are assigned; the chart is installed for that."""
    cluster = namespace.cluster
    namespaces = ("namespace", namespace.name, SYSTEM)
    cluster.kubectl("apply", "-f", SCC)
    cluster.kubectl("label", *namespaces, "scc=restricted-v2")

    def is_enforced() -> bool:
        attempt = ("create", "--dry-run=server", "-f", "-")
        return "must be in the range" in namespace.kubectl(*attempt, stdin=json.dumps(build_pod(10001)), check=False)

    try:
        wait_for(is_enforced, 30, "a pod that names another uid is refused")
        said = cluster.install_this("openshift=true")
        assert "successfully rolled out" in said, said
        yield namespace
    finally:
        cluster.kubectl("delete", "-f", SCC)
        cluster.kubectl("label", *namespaces, "scc-")
        cluster.install_this()


def test_models_serve_under_uids_that_the_platform_assigns(assigning: Any) -> None:
    cluster = assigning.cluster
    assigning.apply("assigned")
    assigning.wait_ready("assigned")
    operators = cluster.items("pods", SYSTEM, "-l", "app.kubernetes.io/name=pagoda")
    users = {pod["spec"]["securityContext"]["runAsUser"] for pod in [*assigning.pods("assigned"), *operators]}
    assert ASSIGNED_ID in users
    (pod,) = assigning.pods("assigned")
    who = assigning.kubectl("exec", pod["metadata"]["name"], "-c", "server", "--", "id")
    assert f"uid={ASSIGNED_ID} gid=0" in who
    address = json.loads(assigning.kubectl("get", "service", "assigned", "-o", "json"))["spec"]["clusterIP"]
    assert cluster.stream(f"http://{address}:8000", "assigned", "--max-tokens", "8")
