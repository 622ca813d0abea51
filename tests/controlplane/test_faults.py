"""Whatever the API server does to the operator for a while, the world is in the end the same as without it."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from .fault_proxy import PORT
from .plane import ROOT, ControlPlane, eventually

pytestmark = pytest.mark.controlplane
SLOW_SECONDS = 90.0
KINDS = ",".join(
    ("deployments", "services", "networkpolicies", "poddisruptionbudgets", "horizontalpodautoscalers")
    + ("ingresses", "persistentvolumeclaims", "modeldeployments")
)
FLAGS = ("--ingress-hosts=*",)
MODEL = {"uri": "bundled://pagoda-tiny"}
CACHE = {"uri": "hf://a/b", "cache": {"pvc": {"size": "1Gi"}}}
BEFORE: dict[str, dict[str, Any]] = {
    "changed": {"replicas": 2},
    "deleted": {"replicas": 1},
    "scaled": {"autoscaling": {"maxReplicas": 3, "tokensPerSecond": 10}},
    "unscaled": {"autoscaling": {"maxReplicas": 3, "tokensPerSecond": 10}},
    "web": {"model": CACHE, "ingress": {"host": "NAMESPACE.example.com", "className": "nginx"}},
}
AFTER: dict[str, dict[str, Any]] = {
    "changed": {"replicas": 3, "rollout": {"drainSeconds": 9}, "networkPolicy": {"enabled": False}},
    "unscaled": {"replicas": 2},
}
FAULTS: dict[str, dict[str, Any]] = {
    "409 on every second write": {"fault": "refuse", "code": 409, "of": "writes"},
    "429 with Retry-After": {"fault": "refuse", "code": 429, "retry_after_seconds": 1},
    "500": {"fault": "refuse", "code": 500},
    "503 and nothing else": {"fault": "refuse", "code": 503, "every": 1},
    "410 on every watch": {"fault": "refuse", "code": 410, "every": 1, "of": "watches"},
    "410 within watches": {"fault": "expire"},
    "500 within watches": {"fault": "expire", "code": 500},
    "watches that end": {"fault": "drop"},
    "watches that seem whole": {"fault": "shorten"},
    "events again and late": {"fault": "replay"},
    "connections reset": {"fault": "reset"},
    "answers lost": {"fault": "lose"},
    "nobody listens": {"fault": "no listener"},
}
STRIKES = {name: (12, 40) for name in FAULTS} | {
    "409 on every second write": (8, 16),
    "410 on every watch": (4, 8),
    "410 within watches": (5, 10),
    "500 within watches": (2, 4),
    "watches that end": (8, 16),
    "watches that seem whole": (2, 4),
    "nobody listens": (4, 9),  # seconds: longer than a leader may go on without its Lease
}
"""How often a fault has struck before the models change, and before it is lifted."""
KILLED_AFTER = (1, 2, 3, 5, 8)
"""Writes of the one operator after the other."""


class Proxy:
    """The fault proxy beside the API server, and how an operator is led through it."""

    def __init__(self, plane: ControlPlane) -> None:
        command = [sys.executable, "-m", "tests.controlplane.fault_proxy", str(plane.folder / "pki")]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process: subprocess.Popen[Any] = plane.start(command, cwd=ROOT, **pipes)
        self.kubeconfig = str(plane.folder / "pki" / "faulty.kubeconfig")
        config = yaml.safe_load((plane.folder / "pki" / "admin.kubeconfig").read_text())
        config["clusters"] = [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{PORT}"}}]
        config["users"] = [{"name": "u", "user": {}}]
        Path(self.kubeconfig).write_text(yaml.safe_dump(config))

    def set(self, **fault: Any) -> int:
        """Gives how often this fault has struck; without a fault, how often the present one has."""
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None and stdout is not None
        print(json.dumps(fault or None), file=stdin, flush=True)
        return int(stdout.readline())

    def wait_struck(self, times: int) -> None:
        soon(lambda: self.set() >= times)

    @contextmanager
    def harm(self, **fault: Any) -> Iterator[None]:
        self.set(**fault)
        try:
            yield
        finally:
            self.set(fault="none")

    def close(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(20)
        self.process.stdout.close()


def soon(check: Any) -> Any:
    return eventually(check, seconds=SLOW_SECONDS)


def apply_models(plane: ControlPlane, namespace: str, specs: dict[str, dict[str, Any]]) -> None:
    """NB: each namespace has a host of its own, for one host is given to one model only."""
    plane.apply(
        *(
            {
                "apiVersion": "pagoda.dev/v1alpha1",
                "kind": "ModelDeployment",
                "metadata": {"name": name, "namespace": namespace},
                "spec": json.loads(json.dumps({"model": MODEL, **spec}).replace("NAMESPACE", namespace)),
            }
            for name, spec in specs.items()
        )
    )


def begin(plane: ControlPlane, namespace: str) -> None:
    plane.kubectl("create", "namespace", namespace)
    apply_models(plane, namespace, BEFORE)


def go_on(plane: ControlPlane, namespace: str) -> None:
    apply_models(plane, namespace, AFTER)
    plane.kubectl("-n", namespace, "delete", "mdep", "deleted")


def world(plane: ControlPlane, namespace: str) -> list[dict[str, Any]]:
    """All children and what the statuses say, without names of this very run."""
    items = plane.get("-n", namespace, KINDS)["items"]
    told = [conditions(item) if item["kind"] == "ModelDeployment" else child(item) for item in items]
    text = re.sub(
        r"(pagoda\.dev/revision\W+)[0-9a-f]{10}", r"\1REVISION", json.dumps(told)
    )  # pods are told the namespace
    found: list[dict[str, Any]] = json.loads(text.replace(namespace, "NAMESPACE"))
    return sorted(found, key=lambda item: (item["kind"], item["name"]))


def child(obj: dict[str, Any]) -> dict[str, Any]:
    meta = obj["metadata"]
    given = {"deployment.kubernetes.io/revision", "pagoda.dev/applied-hash"}  # by uid, and by how many steps it took
    return {
        "kind": obj["kind"],
        "name": meta["name"],
        "labels": meta["labels"],
        "annotations": {key: text for key, text in meta.get("annotations", {}).items() if key not in given},
        "owners": [owner["name"] for owner in meta["ownerReferences"]],
        "spec": {key: value for key, value in obj["spec"].items() if key not in ("clusterIP", "clusterIPs")},
    }


def conditions(model: dict[str, Any]) -> dict[str, Any]:
    status = model.get("status", {})
    said = {c["type"]: (c["status"], c["reason"]) for c in status.get("conditions", ())}
    is_current = status.get("observedGeneration") == model["metadata"]["generation"]
    return {"kind": model["kind"], "name": model["metadata"]["name"], "said": said, "is current": is_current}


def is_at_rest(found: list[dict[str, Any]]) -> bool:
    by_kind = {kind: [item["name"] for item in found if item["kind"] == kind] for kind in KINDS_AT_REST}
    replicas = {item["name"]: item["spec"]["replicas"] for item in found if item["kind"] == "Deployment"}
    current = all(item["is current"] and item["said"] for item in found if item["kind"] == "ModelDeployment")
    return by_kind == KINDS_AT_REST and (replicas["changed"], replicas["unscaled"]) == (3, 2) and current


KINDS_AT_REST = {
    "ModelDeployment": ["changed", "scaled", "unscaled", "web"],
    "Deployment": ["changed", "scaled", "unscaled", "web"],
    "Service": ["changed", "scaled", "unscaled", "web"],
    "NetworkPolicy": ["scaled", "unscaled", "web"],
    "HorizontalPodAutoscaler": ["scaled"],
    "Ingress": ["web"],
    "PersistentVolumeClaim": ["web-models"],
}


def assert_same(plane: ControlPlane, namespace: str, reference: list[dict[str, Any]]) -> None:
    def compare() -> bool:
        assert world(plane, namespace) == reference
        return True

    soon(compare)


@pytest.fixture(scope="module")
def proxy(control_plane: ControlPlane) -> Iterator[Proxy]:
    spec = {"controller": "k8s.io/ingress-nginx"}
    api = "networking.k8s.io/v1"
    control_plane.apply({"apiVersion": api, "kind": "IngressClass", "metadata": {"name": "nginx"}, "spec": spec})
    proxy = Proxy(control_plane)
    yield proxy
    proxy.close()
    control_plane.kubectl("delete", "mdep", "-A", "--all")
    control_plane.kubectl("delete", "ingressclass", "nginx")


@pytest.fixture(scope="module")
def reference(control_plane: ControlPlane, proxy: Proxy) -> list[dict[str, Any]]:
    """The world without any fault."""
    with control_plane.operator("reference", *FLAGS, kubeconfig=proxy.kubeconfig):
        begin(control_plane, "reference")
        soon(lambda: control_plane.get("-n", "reference", "deployment", "changed"))
        go_on(control_plane, "reference")
        soon(lambda: is_at_rest(world(control_plane, "reference")))
        return world(control_plane, "reference")


@pytest.fixture(scope="class")
def operator(
    control_plane: ControlPlane, proxy: Proxy, reference: list[dict[str, Any]]
) -> Iterator["subprocess.Popen[bytes]"]:
    """It begins while the API server is in trouble."""
    with control_plane.operator("faults", *FLAGS, kubeconfig=proxy.kubeconfig) as process:
        with proxy.harm(fault="refuse", code=503, every=1):
            proxy.wait_struck(3)
        yield process
    assert process.returncode == 0


class TestOneOperatorMeetsAll:
    @pytest.fixture(autouse=True)
    def lives_and_says_no_traceback(
        self, control_plane: ControlPlane, operator: "subprocess.Popen[bytes]"
    ) -> Iterator[None]:
        yield
        assert operator.poll() is None
        assert "Traceback" not in control_plane.log_of("faults")

    @pytest.mark.parametrize("name", FAULTS)
    def test_after_a_fault_the_world_is_as_without_it(
        self, control_plane: ControlPlane, proxy: Proxy, reference: list[dict[str, Any]], name: str
    ) -> None:
        plane, namespace = control_plane, f"fault-{list(FAULTS).index(name)}"
        before_change, before_end = STRIKES[name]
        with proxy.harm(**FAULTS[name]):
            begin(plane, namespace)
            proxy.wait_struck(before_change)
            go_on(plane, namespace)
            proxy.wait_struck(before_end)
        assert_same(plane, namespace, reference)

    def test_what_was_deleted_unseen_is_made_again(self, control_plane: ControlPlane, proxy: Proxy) -> None:
        service = ("-n", "reference", "service", "web")
        uid = control_plane.get(*service)["metadata"]["uid"]
        with proxy.harm(fault="expire", of="DELETED", every=1):
            control_plane.kubectl("delete", *service)
            proxy.wait_struck(1)
        soon(lambda: control_plane.get(*service)["metadata"]["uid"] != uid)


def test_while_watches_are_stalled_lists_show_what_there_is(
    control_plane: ControlPlane, proxy: Proxy, reference: list[dict[str, Any]]
) -> None:
    plane = control_plane
    with plane.operator("stalled", *FLAGS, "--resync-seconds=3", kubeconfig=proxy.kubeconfig):
        soon(lambda: "leader=True" in plane.log_of("stalled"))
        with proxy.harm(fault="stall"):
            begin(plane, "stalled")
            soon(lambda: plane.get("-n", "stalled", "deployment", "changed"))
            go_on(plane, "stalled")
            assert_same(plane, "stalled", reference)
            proxy.wait_struck(1)
        assert "Traceback" not in plane.log_of("stalled")


def test_killed_after_any_write_the_next_one_makes_the_same_world(
    control_plane: ControlPlane, proxy: Proxy, reference: list[dict[str, Any]]
) -> None:
    plane, flags = control_plane, (*FLAGS, "--metrics-api-port=0")  # all that is counted is written for a model
    begin(plane, "killed")
    for writes in KILLED_AFTER:
        with (
            plane.operator("killed", *flags, kubeconfig=proxy.kubeconfig) as process,
            proxy.harm(fault="kill", pid=process.pid, writes=writes),
        ):
            assert process.wait(SLOW_SECONDS) == -signal.SIGKILL
        if writes == KILLED_AFTER[2]:
            go_on(plane, "killed")
    with plane.operator("killed", *flags, kubeconfig=proxy.kubeconfig):
        assert_same(plane, "killed", reference)
        assert "Traceback" not in plane.log_of("killed")
