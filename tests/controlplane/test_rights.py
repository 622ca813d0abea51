"""An operator that lacks a right for one kind says which, does the rest, and takes the right up when it gets it."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from .plane import ControlPlane, eventually
from .test_operator import model

pytestmark = pytest.mark.controlplane
RIGHTS: dict[str, tuple[str, ...]] = {
    "coordination.k8s.io": ("leases",),
    "pagoda.dev": ("modeldeployments", "modeldeployments/status", "modeldeployments/finalizers"),
    "apiextensions.k8s.io": ("customresourcedefinitions",),
    "apps": ("deployments",),
    "": ("services", "persistentvolumeclaims", "pods", "events", "secrets", "configmaps"),
    "networking.k8s.io": ("ingresses", "ingressclasses", "networkpolicies"),
    "autoscaling": ("horizontalpodautoscalers",),
    "policy": ("poddisruptionbudgets",),
    "storage.k8s.io": ("storageclasses",),
    "monitoring.coreos.com": ("podmonitors", "prometheusrules"),
    "discovery.k8s.io": ("endpointslices",),
    "apiregistration.k8s.io": ("apiservices",),
}
ACCOUNT = {"name": "limited", "namespace": "pagoda-system"}


def grant(plane: ControlPlane, *, but: str = "") -> None:
    """All that the operator needs; of the kind `but` it may write single objects, and neither list nor watch any."""
    rules = [
        {"apiGroups": [group], "resources": [r for r in resources if r != but], "verbs": ["*"]}
        for group, resources in RIGHTS.items()
    ]
    writes = ["get", "create", "patch", "delete"]
    rules += [{"apiGroups": [g], "resources": [but], "verbs": writes} for g, found in RIGHTS.items() if but in found]
    api = "rbac.authorization.k8s.io/v1"
    role = {"apiVersion": api, "kind": "ClusterRole", "metadata": {"name": "limited"}, "rules": rules}
    binding = {
        "apiVersion": api,
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "limited"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "limited"},
        "subjects": [{"kind": "ServiceAccount", **ACCOUNT}],
    }
    plane.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": ACCOUNT}, role, binding)


def kubeconfig_of_account(plane: ControlPlane) -> str:
    config: dict[str, Any] = yaml.safe_load((plane.folder / "pki" / "admin.kubeconfig").read_text())
    token = plane.kubectl("-n", "pagoda-system", "create", "token", "limited").strip()
    config["users"] = [{"name": user["name"], "user": {"token": token}} for user in config["users"]]
    path = plane.folder / "pki" / "limited.kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return str(path)


@pytest.fixture
def limited(control_plane: ControlPlane) -> Iterator["subprocess.Popen[bytes]"]:
    grant(control_plane, but="networkpolicies")
    kubeconfig = kubeconfig_of_account(control_plane)
    with control_plane.operator("limited", "--resync-seconds=3", kubeconfig=kubeconfig) as process:
        yield process
    assert process.returncode == 0


def test_one_kind_refused_is_said_others_go_on_and_it_is_taken_up_when_granted(
    control_plane: ControlPlane, limited: "subprocess.Popen[bytes]"
) -> None:
    plane = control_plane
    plane.apply(model("tiny"))
    eventually(lambda: plane.get("deployment", "tiny"))
    assert "cannot list networkpolicies: grant get, list and watch" in plane.log_of("limited")
    plane.kubectl("scale", "mdep/tiny", "--replicas=2")
    eventually(lambda: plane.get("deployment", "tiny")["spec"]["replicas"] == 2)
    grant(plane)
    eventually(lambda: "kind is read again kind=networking.k8s.io/NetworkPolicy" in plane.log_of("limited"), seconds=60)
    plane.kubectl("delete", "networkpolicy", "tiny")
    eventually(lambda: plane.get("networkpolicy", "tiny"), seconds=60)


def test_a_right_that_is_lost_later_is_said_and_others_go_on(
    control_plane: ControlPlane, limited: "subprocess.Popen[bytes]"
) -> None:
    plane = control_plane
    grant(plane)
    plane.apply(model("tiny"))
    eventually(lambda: plane.get("service", "tiny"))
    grant(plane, but="services")
    eventually(lambda: "cannot list services" in plane.log_of("limited"), seconds=60)
    plane.apply(model("later"))
    eventually(lambda: plane.get("deployment", "later"), seconds=60)
    assert limited.poll() is None
    grant(plane)
    eventually(lambda: "kind is read again kind=/Service" in plane.log_of("limited"), seconds=60)
    plane.kubectl("delete", "mdep", "--all")
    eventually(lambda: not json.loads(plane.kubectl("get", "deployments", "-o", "json"))["items"])


def test_kinds_of_a_project_that_is_installed_later_are_taken_up(
    control_plane: ControlPlane, limited: "subprocess.Popen[bytes]"
) -> None:
    plane = control_plane
    grant(plane)
    plane.apply(model("tiny"))
    eventually(lambda: plane.get("deployment", "tiny"))
    version = {"name": "v1", "served": True, "storage": True}
    version["schema"] = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    names = {"plural": "podmonitors", "singular": "podmonitor", "kind": "PodMonitor", "listKind": "PodMonitorList"}
    crd = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "podmonitors.monitoring.coreos.com"},
        "spec": {"group": "monitoring.coreos.com", "names": names, "scope": "Namespaced", "versions": [version]},
    }
    plane.apply(crd)
    eventually(lambda: plane.get("podmonitor", "tiny"), seconds=60)
    plane.kubectl("delete", "mdep", "tiny")
    plane.kubectl("delete", "crd", "podmonitors.monitoring.coreos.com")


def test_an_operator_that_cannot_go_on_ends_with_a_reason_as_its_last_word(control_plane: ControlPlane) -> None:
    plane = control_plane
    with plane.operator("first") as first:
        eventually(lambda: "leader=True" in plane.log_of("first"), seconds=60)
        with plane.operator("second") as second:
            assert second.wait(30) == 1
        last = plane.log_of("second").splitlines()[-1]
        assert "the operator ends reason=" in last and "Address already in use" in last
    assert first.returncode == 0
