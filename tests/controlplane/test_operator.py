"""The operator against a real API server: it converges, it is quiet at rest, and it leaves nothing behind."""

import signal
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from .conftest import METRICS_API_PORT, ControlPlane, eventually

pytestmark = pytest.mark.controlplane
KINDS = "modeldeployments,deployments,services,networkpolicies,poddisruptionbudgets,horizontalpodautoscalers,ingresses"


def model(name: str, **spec: Any) -> dict[str, Any]:
    spec = {"model": {"uri": "bundled://pagoda-tiny"}, **spec}
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "pagoda.dev/v1alpha1", "kind": "ModelDeployment", "metadata": metadata, "spec": spec}


@pytest.fixture
def operator(control_plane: ControlPlane) -> Iterator["subprocess.Popen[bytes]"]:
    process = control_plane.start_operator("first")
    yield process
    process.terminate()
    process.wait(20)


def condition(plane: ControlPlane, name: str, type_: str) -> dict[str, Any]:
    found = plane.get("mdep", name)
    return next(c for c in found.get("status", {}).get("conditions", [{"type": type_}]) if c["type"] == type_)


def versions(plane: ControlPlane) -> dict[str, str]:
    items = plane.get(KINDS)["items"]
    return {f"{o['kind']}/{o['metadata']['name']}": o["metadata"]["resourceVersion"] for o in items}


def test_children_appear_follow_the_spec_and_go_with_it(
    control_plane: ControlPlane, operator: "subprocess.Popen[bytes]"
) -> None:
    plane = control_plane
    plane.apply(model("tiny", replicas=2))
    deployment = eventually(lambda: plane.get("deployment", "tiny"))
    owner = deployment["metadata"]["ownerReferences"][0]
    assert (owner["kind"], owner["uid"]) == ("ModelDeployment", plane.get("mdep", "tiny")["metadata"]["uid"])
    assert deployment["spec"]["replicas"] == 2
    assert eventually(lambda: plane.get("service", "tiny"))
    eventually(lambda: condition(plane, "tiny", "Ready")["status"] == "False")
    assert "finalizers" not in plane.get("mdep", "tiny")["metadata"]
    plane.apply(model("tiny", replicas=3))
    eventually(lambda: plane.get("deployment", "tiny")["spec"]["replicas"] == 3)
    plane.kubectl("delete", "mdep", "tiny")
    eventually(lambda: not plane.get(KINDS, "-l", "pagoda.dev/model-deployment=tiny")["items"])


def test_killed_in_the_middle_it_converges_and_restarts_no_pod(control_plane: ControlPlane) -> None:
    plane = control_plane
    first = plane.start_operator("killed")
    plane.apply(*(model(f"m{i}", replicas=1) for i in range(5)))
    eventually(lambda: plane.get("deployment", "m0"))
    first.send_signal(signal.SIGKILL)
    first.wait(10)
    generation = plane.get("deployment", "m0")["metadata"]["generation"]
    second = plane.start_operator("second")
    for i in range(5):
        eventually(lambda name=f"m{i}": plane.get("deployment", name) and condition(plane, name, "Ready")["reason"])
    assert plane.get("deployment", "m0")["metadata"]["generation"] == generation
    second.terminate()
    assert second.wait(20) == 0
    plane.kubectl("delete", "mdep", "--all")


def test_nothing_is_written_at_rest(control_plane: ControlPlane, operator: "subprocess.Popen[bytes]") -> None:
    plane = control_plane
    plane.apply(model("quiet", replicas=2))
    eventually(lambda: condition(plane, "quiet", "Ready")["reason"])
    time.sleep(8)
    before = versions(plane)
    time.sleep(20)
    assert versions(plane) == before
    plane.kubectl("delete", "mdep", "quiet")


def test_the_metrics_api_answers_through_the_api_server(
    control_plane: ControlPlane, operator: "subprocess.Popen[bytes]"
) -> None:
    plane = control_plane
    port = {"name": "https", "port": 443, "targetPort": int(METRICS_API_PORT)}
    service = {"metadata": {"name": "pagoda-operator", "namespace": "pagoda-system"}, "spec": {"ports": [port]}}
    endpoints = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "pagoda-operator-1",
            "namespace": "pagoda-system",
            "labels": {"kubernetes.io/service-name": "pagoda-operator"},
        },
        "addressType": "IPv4",
        "ports": [{"name": "https", "port": int(METRICS_API_PORT), "protocol": "TCP"}],
        "endpoints": [{"addresses": ["192.0.2.1"], "conditions": {"ready": True}}],
    }
    api_service = {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": "v1beta2.custom.metrics.k8s.io"},
        "spec": {
            "group": "custom.metrics.k8s.io",
            "version": "v1beta2",
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "service": {"namespace": "pagoda-system", "name": "pagoda-operator", "port": 443},
        },
    }
    plane.apply({"apiVersion": "v1", "kind": "Service", **service}, endpoints, api_service)

    def available() -> bool:
        conditions = plane.get("apiservice", "v1beta2.custom.metrics.k8s.io")["status"]["conditions"]
        return any(c["type"] == "Available" and c["status"] == "True" for c in conditions)

    eventually(available, seconds=90)
    found = plane.kubectl("get", "--raw", "/apis/custom.metrics.k8s.io/v1beta2")
    assert "demand_tokens_per_second" in found
