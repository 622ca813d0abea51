"""`pagoda status`, `why` and the like against a real API server; the kubelet's part is written by us."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest
import yaml

from .plane import ROOT, ControlPlane, eventually
from .test_operator import model

pytestmark = pytest.mark.controlplane


def run_tool(plane: ControlPlane, *args: str, kubeconfig: str = "", stdin: str = "") -> tuple[int, str, str]:
    environ = {
        **os.environ,
        "PYTHONPATH": f"{ROOT / 'operator'}:{ROOT / 'server_image'}",
        "KUBECONFIG": kubeconfig or str(plane.folder / "pki" / "admin.kubeconfig"),
        "COLUMNS": "200",
    }
    command = [sys.executable, "-m", "pagoda_cli.main", *args]
    process = plane.start(command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = (text.decode() for text in process.communicate(stdin.encode(), timeout=60))
    assert "Traceback" not in err, err
    return process.returncode, out, err


def set_status(plane: ControlPlane, resource: str, name: str, status: dict[str, Any]) -> None:
    plane.kubectl("patch", resource, name, "--subresource=status", "--type=merge", "-p", json.dumps({"status": status}))


def test_a_killed_pod_is_explained_with_its_evidence_and_the_next_step(control_plane: ControlPlane) -> None:
    plane = control_plane
    with plane.operator("tool"):
        plane.apply(model("killed", replicas=1))
        pods = ("pods", "-l", "pagoda.dev/model-deployment=killed")
        (pod,) = eventually(lambda: plane.get(*pods)["items"])
        ended = {"exitCode": 137, "reason": "OOMKilled", "finishedAt": "2027-01-31T11:00:00Z"}
        server = {
            "name": "server",
            "image": "server",
            "imageID": "",
            "ready": False,
            "restartCount": 2,
            "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": ended},
        }
        set_status(plane, "pod", pod["metadata"]["name"], {"phase": "Running", "containerStatuses": [server]})

        def explained() -> str:
            code, out, _ = run_tool(plane, "why", "killed")
            assert code == 1
            assert "OutOfMemory" in out
            return out

        out = eventually(explained)
        assert f"pod {pod['metadata']['name']}, container server: ended with exit code 137 (OOMKilled), 2 rest" in out
        assert "patch mdep killed --type merge" in out
        assert "OperatorDown" not in out
        code, out, _ = run_tool(plane, "status", "killed", "-o", "json")
        seen = json.loads(out)
        assert (code, seen["ready"], seen["reason"]) == (0, "False", "OutOfMemory")
        assert [found["state"] for found in seen["pods"]] == ["CrashLoopBackOff"]
        assert seen["revisions"][0]["isCurrent"]
        code, out, _ = run_tool(plane, "status", "-A", "-o", "yaml")
        assert [found["name"] for found in yaml.safe_load(out)["models"]] == ["killed"]
    plane.kubectl("delete", "mdep", "killed")


def test_without_an_operator_that_is_the_cause(control_plane: ControlPlane) -> None:
    plane = control_plane
    plane.kubectl("delete", "lease", "-n", "pagoda-system", "--all")
    plane.apply(model("alone"))
    code, out, _ = run_tool(plane, "why")
    assert code == 1
    assert "OperatorDown" in out
    assert "CrdOld" not in out
    plane.kubectl("delete", "mdep", "alone")


def test_a_name_that_is_not_there_is_answered_with_one_like_it(control_plane: ControlPlane) -> None:
    plane = control_plane
    plane.apply(model("llama-chat"))
    code, out, err = run_tool(plane, "status", "lama-chat")
    assert (code, out) == (1, "")
    assert err == "error: there is no ModelDeployment lama-chat in namespace default: did you mean llama-chat?\n"
    plane.kubectl("delete", "mdep", "llama-chat")


def test_who_may_not_read_is_told_which_role_to_ask_for(control_plane: ControlPlane) -> None:
    code, _, err = run_tool(control_plane, "status", "--as", "stranger")
    assert code == 1
    assert err.startswith("error: you may not list modeldeployments in namespace default: ask for the ClusterRole view")
    assert run_tool(control_plane, "why", "--as", "stranger")[0] == 2


def test_a_secret_that_the_spec_names_is_looked_for_and_not_into(control_plane: ControlPlane) -> None:
    plane = control_plane
    plane.apply(model("keyed", auth={"apiKeysSecretRef": {"name": "team-keys"}}))
    assert "create secret generic team-keys --from-literal=TENANT=KEY" in run_tool(plane, "why", "keyed")[1]
    plane.kubectl("create", "secret", "generic", "team-keys", "--from-literal=team=planted-key")
    out = run_tool(plane, "why", "keyed", "-o", "json")[1]
    assert "SecretNotFound" not in out
    assert "planted-key" not in out
    plane.kubectl("delete", "mdep/keyed", "secret/team-keys")
