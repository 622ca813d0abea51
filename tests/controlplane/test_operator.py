"""The operator against a real API server: it converges, it is quiet at rest, and it leaves nothing behind."""

import signal
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from .plane import METRICS_API_PORT, ControlPlane, eventually

pytestmark = pytest.mark.controlplane
KINDS = "modeldeployments,deployments,services,networkpolicies,poddisruptionbudgets,horizontalpodautoscalers,ingresses"


def model(name: str, **spec: Any) -> dict[str, Any]:
    spec = {"model": {"uri": "bundled://pagoda-tiny"}, **spec}
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "pagoda.dev/v1alpha1", "kind": "ModelDeployment", "metadata": metadata, "spec": spec}


@pytest.fixture
def operator(control_plane: ControlPlane) -> Iterator["subprocess.Popen[bytes]"]:
    with control_plane.operator("first") as process:
        yield process


def condition(plane: ControlPlane, name: str, type_: str) -> dict[str, Any]:
    found = plane.get("mdep", name)
    return next(c for c in found.get("status", {}).get("conditions", [{"type": type_}]) if c["type"] == type_)


def read_reason(plane: ControlPlane, name: str) -> str | None:
    """Why it is or is not ready; None before it is judged."""
    reason: str | None = condition(plane, name, "Ready")["reason"]
    return reason


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
    with plane.operator("killed") as first:
        plane.apply(*(model(f"m{i}", replicas=1) for i in range(5)))
        eventually(lambda: plane.get("deployment", "m0"))
        first.send_signal(signal.SIGKILL)
        first.wait(10)
    generation = plane.get("deployment", "m0")["metadata"]["generation"]
    with plane.operator("second") as second:
        lease = ("-n", "pagoda-system", "lease", "pagoda-operator")
        eventually(lambda: plane.get(*lease)["spec"]["holderIdentity"] == "second", seconds=60)
        for i in range(5):
            eventually(partial(plane.get, "deployment", f"m{i}"))
            eventually(partial(read_reason, plane, f"m{i}"))
        assert plane.get("deployment", "m0")["metadata"]["generation"] == generation
    assert second.returncode == 0
    plane.kubectl("delete", "mdep", "--all")


def test_nothing_is_written_at_rest(control_plane: ControlPlane, operator: "subprocess.Popen[bytes]") -> None:
    plane = control_plane
    broken = {"ingress": {"host": "a.example.com", "className": "none"}, "resources": {"cpu": "1000m"}}
    plane.apply(model("quiet", replicas=2), model("none", replicas=0), model("broken", **broken))
    for name in ("quiet", "none", "broken"):
        eventually(partial(read_reason, plane, name))
    time.sleep(12)  # its first comparison with fresh lists is over
    before = plane.writes()
    assert [line for line in before if "/deployments/quiet" in line]
    time.sleep(20)
    assert plane.writes() == before
    plane.kubectl("delete", "mdep", "--all")


def test_what_somebody_changed_is_put_right(control_plane: ControlPlane, operator: "subprocess.Popen[bytes]") -> None:
    plane = control_plane
    plane.apply(model("drift"))
    eventually(lambda: plane.get("service", "drift") and condition(plane, "drift", "Ready")["reason"])
    port = '[{"op": "replace", "path": "/spec/ports/0/targetPort", "value": 9}]'
    plane.kubectl("patch", "service", "drift", "--type=json", "-p", port)
    eventually(lambda: plane.get("service", "drift")["spec"]["ports"][0]["targetPort"] == "http")
    plane.kubectl("label", "service", "drift", "team=a")
    image = '[{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "other"}]'
    plane.kubectl("patch", "deployment", "drift", "--type=json", "-p", image)
    containers = lambda: plane.get("deployment", "drift")["spec"]["template"]["spec"]["containers"]  # noqa: E731
    eventually(lambda: containers()[0]["image"] != "other")
    assert plane.get("service", "drift")["metadata"]["labels"]["team"] == "a", "what is not ours stays"
    plane.kubectl("delete", "mdep", "drift")


def test_an_object_of_someone_else_is_left_alone(
    control_plane: ControlPlane, operator: "subprocess.Popen[bytes]"
) -> None:
    plane = control_plane
    theirs = {"ports": [{"port": 80}], "selector": {"app": "theirs"}}
    metadata = {"name": "taken", "namespace": "default"}
    plane.apply({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": theirs})
    plane.apply(model("taken"))
    eventually(lambda: condition(plane, "taken", "Ready")["reason"] == "NameTaken")
    assert "Service taken" in condition(plane, "taken", "Ready")["message"]
    assert plane.get("service", "taken")["spec"]["selector"] == {"app": "theirs"}
    plane.kubectl("delete", "service", "taken")
    eventually(lambda: "ownerReferences" in plane.get("service", "taken")["metadata"])
    eventually(lambda: condition(plane, "taken", "Ready")["reason"] != "NameTaken")
    plane.kubectl("delete", "mdep", "taken", "--cascade=orphan")
    eventually(lambda: "ownerReferences" not in plane.get("service", "taken")["metadata"])
    plane.apply(model("taken"))
    eventually(lambda: "ownerReferences" in plane.get("service", "taken")["metadata"])
    plane.kubectl("delete", "mdep", "taken")


def test_a_namespace_that_ends_is_no_error(control_plane: ControlPlane, operator: "subprocess.Popen[bytes]") -> None:
    plane = control_plane
    plane.kubectl("create", "namespace", "ends")
    held = model("held")
    held["metadata"] |= {"namespace": "ends", "finalizers": ["example.com/held"]}
    plane.apply(held)
    eventually(lambda: plane.get("-n", "ends", "service", "held"))
    plane.kubectl("delete", "namespace", "ends", "--wait=false")
    plane.apply(model("witness"))
    eventually(lambda: condition(plane, "witness", "Ready")["reason"])
    eventually(lambda: not plane.get("-n", "ends", "services")["items"])
    assert "reconcile failed" not in plane.log_of("first")
    plane.kubectl("-n", "ends", "patch", "mdep", "held", "--type=merge", "-p", '{"metadata": {"finalizers": null}}')
    plane.kubectl("delete", "mdep", "witness")


API = "v1beta2.custom.metrics.k8s.io"


def serve_metrics_api(plane: ControlPlane, pod: str) -> None:
    """A Service and endpoints that lead to an operator outside of the cluster."""
    port = {"name": "https", "port": 443, "targetPort": int(METRICS_API_PORT)}
    service = {"metadata": {"name": "pagoda-operator", "namespace": "pagoda-system"}, "spec": {"ports": [port]}}
    target = {"kind": "Pod", "name": pod, "namespace": "pagoda-system"}
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
        "endpoints": [{"addresses": ["192.0.2.1"], "conditions": {"ready": True}, "targetRef": target}],
    }
    plane.apply({"apiVersion": "v1", "kind": "Service", **service}, endpoints)


def has_api(plane: ControlPlane) -> bool:
    return API in plane.kubectl("get", "apiservices", "-o", "name")


def available(plane: ControlPlane) -> bool:
    conditions = plane.get("apiservice", API).get("status", {}).get("conditions", [])
    return any(c["type"] == "Available" and c["status"] == "True" for c in conditions)


def test_the_metrics_api_is_there_while_an_operator_is(control_plane: ControlPlane) -> None:
    plane = control_plane
    serve_metrics_api(plane, "first")
    with plane.operator("first") as operator:
        eventually(lambda: has_api(plane) and available(plane), seconds=60)
        assert "demand_tokens_per_second" in plane.kubectl("get", "--raw", "/apis/custom.metrics.k8s.io/v1beta2")
        bundle = plane.get("apiservice", API)["spec"]["caBundle"]
        spoilt = '{"data": {"tls.crt": "bm9uZQ=="}}'
        secret = ("secret", "pagoda-operator-metrics-tls")
        plane.kubectl("-n", "pagoda-system", "patch", *secret, "--type=merge", "-p", spoilt)
        eventually(lambda: plane.get("apiservice", API)["spec"]["caBundle"] != bundle, seconds=60)
        eventually(lambda: available(plane))
        assert "demand_tokens_per_second" in plane.kubectl("get", "--raw", "/apis/custom.metrics.k8s.io/v1beta2")
        plane.kubectl("create", "namespace", "goes")
    assert operator.returncode == 0
    assert not has_api(plane)
    plane.kubectl("delete", "namespace", "goes", "--timeout=30s")


def test_the_metrics_api_of_someone_else_is_left_alone(control_plane: ControlPlane) -> None:
    plane = control_plane
    spec = {"group": "custom.metrics.k8s.io", "version": "v1beta2", "groupPriorityMinimum": 100, "versionPriority": 9}
    spec["service"] = {"namespace": "monitoring", "name": "adapter"}
    theirs = {"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": API}, "spec": spec}
    plane.apply(theirs)
    with plane.operator("second"):
        eventually(lambda: "v1beta1.custom.metrics.k8s.io" in plane.kubectl("get", "apiservices", "-o", "name"))
    assert plane.get("apiservice", API)["spec"]["service"]["name"] == "adapter"
    plane.kubectl("delete", "apiservice", API)
