"""What `kubectl get` and `kubectl describe` show of a rollout; the test stands in for the kubelet."""

import json
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from .plane import ControlPlane, eventually

pytestmark = pytest.mark.controlplane
READY = {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}
LAST = {"terminated": {"exitCode": 2, "message": "boom", "finishedAt": "2026-01-01T00:00:00Z"}}
CONTAINER = {"name": "server", "ready": False, "restartCount": 3, "image": "x", "imageID": ""}
CRASHING = {
    "containerStatuses": [{**CONTAINER, "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": LAST}]
}


@pytest.fixture
def plane(control_plane: ControlPlane) -> Iterator[ControlPlane]:
    with control_plane.operator("first", "--ingress-hosts=example.com"):
        yield control_plane
    control_plane.kubectl("delete", "mdep", "--all")


def apply(plane: ControlPlane, name: str, **spec: Any) -> None:
    spec = {"model": {"uri": "bundled://pagoda-tiny"}, **spec}
    metadata = {"name": name, "namespace": "default"}
    plane.apply({"apiVersion": "pagoda.dev/v1alpha1", "kind": "ModelDeployment", "metadata": metadata, "spec": spec})


def row(plane: ControlPlane, name: str, *flags: str) -> dict[str, str]:
    """The row of `kubectl get`, by column; a column may be empty."""
    head, line = plane.kubectl("get", "mdep", name, *flags).splitlines()
    starts = [found.start() for found in re.finditer(r"\S+", head)]
    return {head[a:b].strip(): line[a:b].strip() for a, b in zip(starts, [*starts[1:], None], strict=True)}


def told(plane: ControlPlane, name: str) -> list[tuple[str, str]]:
    selector = f"involvedObject.kind=ModelDeployment,involvedObject.name={name}"
    return sorted(
        (event["type"], event["reason"]) for event in plane.get("events", "--field-selector", selector)["items"]
    )


def pods(plane: ControlPlane, name: str) -> list[dict[str, Any]]:
    found = plane.get("pods", "-l", f"pagoda.dev/model-deployment={name}")["items"]
    return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]


def set_status(plane: ControlPlane, pod: dict[str, Any], status: dict[str, Any]) -> None:
    patch = json.dumps({"status": status})
    plane.kubectl("patch", "pod", pod["metadata"]["name"], "--subresource=status", "--type=merge", "-p", patch)


def ready_of(plane: ControlPlane, name: str) -> tuple[str, str, str]:
    found = row(plane, name)
    return found["READY"], found["REASON"], found["REPLICAS"]


def scrape(plane: ControlPlane) -> str:
    asked = plane.start(["curl", "-s", "http://127.0.0.1:18080/metrics"], stdout=subprocess.PIPE, text=True)
    return str(asked.communicate(timeout=10)[0])


def test_a_revision_that_crashes_beside_one_that_serves_is_in_the_columns_the_events_and_the_metrics(
    plane: ControlPlane,
) -> None:
    apply(plane, "rolls")
    (old,) = eventually(lambda: pods(plane, "rolls"))
    set_status(plane, old, READY)
    eventually(lambda: ready_of(plane, "rolls") == ("True", "Serving", "1/1"))
    eventually(lambda: ("Normal", "RolloutComplete") in told(plane, "rolls"))
    apply(plane, "rolls", engine={"maxNumSeqs": 8})
    (new,) = eventually(
        lambda: [pod for pod in pods(plane, "rolls") if pod["metadata"]["uid"] != old["metadata"]["uid"]]
    )
    set_status(plane, new, CRASHING)
    eventually(lambda: plane.get("mdep", "rolls")["status"]["conditions"][2]["reason"] == "CrashLooping")
    assert ready_of(plane, "rolls") == ("True", "RolloutFailing", "1/1")
    wide = row(plane, "rolls", "-o", "wide")
    assert (wide["UP-TO-DATE"], wide["MODEL"], wide["GPUS"]) == ("1", "bundled://pagoda-tiny", "0")
    assert wide["URL"] == "http://rolls.default.svc:8000/v1" and {"TOK/S", "CAPACITY"} <= set(wide)
    series = (
        'pagoda_model_condition{model_deployment="rolls",namespace="default",reason="RolloutFailing",type="Ready"} 1.0'
    )
    eventually(lambda: series in scrape(plane))
    assert scrape(plane).count('model_deployment="rolls",namespace="default",reason="') == len(
        plane.get("mdep", "rolls")["status"]["conditions"]
    )
    set_status(plane, new, {**READY, "containerStatuses": []})
    eventually(lambda: ready_of(plane, "rolls") == ("True", "Serving", "1/1") and len(pods(plane, "rolls")) == 1)
    eventually(lambda: told(plane, "rolls").count(("Normal", "RolloutComplete")) == 2)
    events = told(plane, "rolls")
    assert events.count(("Normal", "RolloutStarted")) == 1
    assert events.count(("Warning", "RolloutFailing")) <= 2, "unscheduled for a moment, then crashing"
    apply(plane, "rolls", engine={"maxNumSeqs": 8}, replicas=2)
    eventually(lambda: row(plane, "rolls")["REPLICAS"] == "1/2")
    eventually(lambda: ("Normal", "Scaled") in told(plane, "rolls"))
    plane.kubectl("delete", "mdep", "rolls")
    eventually(lambda: 'model_deployment="rolls"' not in scrape(plane))


def test_one_host_goes_to_one_and_to_the_other_when_that_is_deleted(plane: ControlPlane) -> None:
    metadata = {"name": "nginx"}
    spec = {"controller": "example.com/proxy"}
    plane.apply({"apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": metadata, "spec": spec})
    ingress = {"host": "a.example.com", "className": "nginx"}

    def reason(name: str) -> str:
        found = plane.get("mdep", name)["status"]["conditions"]
        return str(next(c["reason"] for c in found if c["type"] == "Ingress"))

    apply(plane, "one", ingress=ingress)
    eventually(lambda: reason("one") == "UnknownController")
    apply(plane, "two", ingress=ingress)
    eventually(lambda: reason("two") == "HostTaken")
    assert plane.kubectl("get", "ingress", "-o", "name").split() == ["ingress.networking.k8s.io/one"]
    plane.kubectl("delete", "mdep", "one")
    eventually(lambda: reason("two") == "UnknownController")
    plane.kubectl("delete", "ingressclass", "nginx")
