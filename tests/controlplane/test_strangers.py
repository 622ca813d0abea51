"""What others do to the cluster beside the operator: refusals, additions, a newer CRD, a restart."""

import copy
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import yaml

from .plane import ROOT, ControlPlane, eventually

SLOW_SECONDS = 90.0

pytestmark = pytest.mark.controlplane
CRD = "modeldeployments.pagoda.dev"


def soon(check: Callable[[], Any]) -> Any:
    return eventually(check, seconds=SLOW_SECONDS)


def model(name: str, namespace: str = "default", **spec: Any) -> dict[str, Any]:
    spec = {"model": {"uri": "bundled://pagoda-tiny"}, **spec}
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "pagoda.dev/v1alpha1", "kind": "ModelDeployment", "metadata": metadata, "spec": spec}


@pytest.fixture
def operator(control_plane: ControlPlane) -> Iterator["subprocess.Popen[bytes]"]:
    with control_plane.operator("strangers") as process:
        yield process


def conditions(plane: ControlPlane, name: str, namespace: str = "default") -> dict[str, dict[str, Any]]:
    found = plane.get("-n", namespace, "mdep", name).get("status", {}).get("conditions", [])
    return {c["type"]: c for c in found}


def is_judged(plane: ControlPlane, name: str) -> bool:
    return bool(conditions(plane, name)["Ready"])


def test_a_quota_on_one_kind_is_told_and_the_others_are_there(
    control_plane: ControlPlane, operator: "subprocess.Popen[bytes]"
) -> None:
    plane = control_plane
    plane.kubectl("create", "namespace", "bounded")
    quota = {"metadata": {"name": "none", "namespace": "bounded"}, "spec": {"hard": {"count/services": "0"}}}
    plane.apply({"apiVersion": "v1", "kind": "ResourceQuota", **quota})
    soon(lambda: plane.get("-n", "bounded", "resourcequota", "none")["status"]["hard"])
    plane.apply(model("m", "bounded", replicas=2))
    ready = soon(lambda: conditions(plane, "m", "bounded")["Ready"])
    assert (ready["status"], ready["reason"]) == ("False", "ApplyFailed")
    assert "Service m: 403:" in ready["message"] and "exceeded quota: none" in ready["message"]
    for kind in ("deployment", "networkpolicy", "poddisruptionbudget"):
        assert plane.get("-n", "bounded", kind, "m")
    plane.kubectl("-n", "bounded", "delete", "resourcequota", "none")
    soon(lambda: plane.get("-n", "bounded", "service", "m"))
    soon(lambda: conditions(plane, "m", "bounded")["Ready"]["reason"] != "ApplyFailed")
    assert "Stalled" not in conditions(plane, "m", "bounded")
    plane.kubectl("delete", "namespace", "bounded", "--wait=false")


def test_what_is_added_to_selectors_and_lists_of_ours_is_taken_out(
    control_plane: ControlPlane, operator: "subprocess.Popen[bytes]"
) -> None:
    plane = control_plane
    plane.apply(model("added", scheduling={"nodeSelector": {"pool": "gpu"}}))
    soon(lambda: conditions(plane, "added")["Ready"])
    before = {kind: plane.get(kind, "added")["spec"] for kind in ("service", "deployment", "networkpolicy")}
    plane.kubectl("patch", "service", "added", "--type=merge", "-p", '{"spec": {"selector": {"foo": "bar"}}}')
    for index, kind in ((0, "containers"), (1, "initContainers")):
        path = f"/spec/template/spec/{kind}/{index}/env"
        op: dict[str, Any] = {"op": "add", "path": path + "/-", "value": {"name": "SPY", "value": "1"}}
        op = op if index == 0 else {**op, "path": path, "value": [op["value"]]}
        plane.kubectl("patch", "deployment", "added", "--type=json", "-p", json.dumps([op]))
    zone = '{"spec": {"template": {"spec": {"nodeSelector": {"zone": "a"}}}}}'
    plane.kubectl("patch", "deployment", "added", "--type=merge", "-p", zone)
    egress = '[{"op": "add", "path": "/spec/egress", "value": [{}]}]'
    plane.kubectl("patch", "networkpolicy", "added", "--type=json", "-p", egress)
    soon(lambda: all(plane.get(kind, "added")["spec"] == spec for kind, spec in before.items()))
    plane.kubectl("delete", "mdep", "added")


def test_a_newer_crd_replaces_no_pod_and_breaks_no_resource(control_plane: ControlPlane) -> None:
    plane = control_plane
    crd = next(yaml.safe_load_all(next((ROOT / "crds").glob("*.yaml")).read_text()))
    newer = copy.deepcopy(crd)
    schema = newer["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    for block in ("engine", "rollout"):
        schema[block]["properties"]["newField"] = {"type": "string", "default": "new"}
    try:
        with plane.operator("older"):
            plane.apply(model("kept", engine={"maxNumSeqs": 8}, rollout={"drainSeconds": 7}))
            soon(lambda: conditions(plane, "kept")["Ready"])
            generation = plane.get("deployment", "kept")["metadata"]["generation"]
            plane.apply(newer)
            plane.kubectl("label", "mdep", "kept", "touched=yes")
            soon(lambda: plane.get("mdep", "kept")["spec"]["engine"].get("newField") == "new")
            soon(lambda: plane.get("mdep", "kept")["metadata"]["labels"]["touched"])
            time.sleep(3)
        with plane.operator("restarted"):
            time.sleep(15)
            plane.apply(crd)
            time.sleep(3)
            assert conditions(plane, "kept")["Ready"]["reason"] in ("Starting", "Unschedulable"), "as before"
            assert plane.get("deployment", "kept")["metadata"]["generation"] == generation
    finally:
        plane.apply(crd)
    plane.kubectl("delete", "mdep", "kept")


def test_after_a_restart_nothing_is_written_that_is_right_already(control_plane: ControlPlane) -> None:
    plane = control_plane
    cached = {"uri": "hf://a/b", "cache": {"pvc": {"size": "2048Mi"}}}
    with plane.operator("before") as first:
        plane.apply(
            model("plain", replicas=2),
            model("sized", model=cached, resources={"cpu": "1500m", "memory": "2048Mi"}),
            model("scaled", autoscaling={"maxReplicas": 3, "tokensPerSecond": 0.5}),
            model("spread", scheduling={"tolerations": [{"key": "gpu"}], "topologySpread": [SPREAD]}),
        )
        for name in ("plain", "sized", "scaled", "spread"):
            soon(partial(is_judged, plane, name))
        time.sleep(12)
    assert first.returncode == 0
    before = plane.writes()
    with plane.operator("after"):
        lease = ("-n", "pagoda-system", "lease", "pagoda-operator")
        soon(lambda: plane.get(*lease)["spec"]["holderIdentity"] == "after")
        time.sleep(15)
        assert [line for line in plane.writes()[len(before) :] if not any(own in line for own in ITS_OWN)] == []
    plane.kubectl("delete", "mdep", "--all")


ITS_OWN = ("custom.metrics", "/secrets", "/events", "/scaled/status")
"""What a restart does change: the metrics API goes and comes, and the HPA says so."""
SPREAD = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}
