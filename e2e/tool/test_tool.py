"""A person looks at a cluster with `kubectl pagoda`: each command, against the real kubelet, proxy and port-forward."""

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

KEY = "k-4f1c9d2e7a"
AUTH = {"auth": {"apiKeysSecretRef": {"name": "keys"}}}
CLAIM = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "weights"},
    "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "", "resources": {"requests": {"storage": "3Gi"}}},
}
REFUSED = {
    "apiVersion": "pagoda.dev/v1alpha1",
    "kind": "ModelDeployment",
    "metadata": {"name": "new"},
    "spec": {"model": {"uri": "bundled://pagoda-tiny"}, "replicas": 1, "autoscaling": {"maxReplicas": 2}},
}


class Tool:
    """The program, in the namespace of the story; it is expected to succeed."""

    def __init__(self, namespace: Any) -> None:
        self._namespace = namespace

    def __call__(self, *args: str, code: int = 0, stdin: str | None = None) -> Any:
        said = self._namespace.cluster.tool(*args, "-n", self._namespace.name, stdin=stdin, timeout=120)
        print(f"$ kubectl pagoda {' '.join(args)}\n{said.out}{said.err}")
        assert said.code == code, said
        return said

    def read(self, *args: str) -> Any:
        return json.loads(self(*args, "-o", "json").out)


@pytest.fixture
def tool(namespace: Any) -> Tool:
    """The program, and a model `served` that is ready and asks for a key, beside one that has no pods."""
    namespace.kubectl("create", "secret", "generic", "keys", f"--from-literal=team={KEY}")
    namespace.kubectl("apply", "-f", "-", stdin=json.dumps(CLAIM))
    namespace.apply("served", **AUTH)
    model = {"uri": "hf://org/model", "cache": {"existingClaim": "weights"}}
    namespace.apply("kept", replicas=0, model=model)
    namespace.wait_ready("served")
    namespace.wait_reason("kept", "ScaledToZero", status="True")
    return Tool(namespace)


def test_every_command_works_on_a_real_cluster(tool: Tool, namespace: Any, tmp_path: Path, wait_for: Any) -> None:
    _talk(tool)
    wait_for(lambda: _has_figures(tool), 60, lambda: tool("status", "served").out)
    _look(tool, namespace.name)
    _read_logs(tool, namespace)
    _check(tool, namespace)
    _report(tool, namespace.name, tmp_path / "report.tar.gz")


def _talk(tool: Tool) -> None:
    """Chat and load go through the real port-forward, with the key of the model's Secret."""
    chat = tool("chat", "served", "--ask", "Hello?")
    assert chat.out.strip() and "tokens/s" in chat.out + chat.err
    assert "the tenant team" in chat.err and KEY not in chat.out + chat.err
    figures = tool.read("bench", "served", "--duration", "5s", "--concurrency", "2", "--answer-tokens", "16")
    assert figures["requests"] > 0 and figures["failed"] == 0, figures
    assert figures["outputTokensPerSecond"] > 0 and "port-forward" in figures["way"]


def _has_figures(tool: Tool) -> bool:
    facts = tool.read("status", "served")
    return facts["capacityTokensPerSecond"] is not None and facts["queued"] is not None


def _look(tool: Tool, namespace: str) -> None:
    """The queue comes from the pod itself, by the API server's proxy."""
    facts = tool.read("status", "served")
    assert (facts["ready"], facts["reason"], facts["readyReplicas"]) == ("True", "Serving", 1)
    assert [(pod["isReady"], pod["state"], pod["queued"]) for pod in facts["pods"]] == [(True, "Running", 0)]
    assert facts["unread"] == [] and facts["causes"] == [] and facts["running"] == 0
    screen = tool("status", "served").out
    assert f"{namespace}/served  ready  Serving" in screen and "All is well" in screen
    head, *rows = tool("status").out.splitlines()
    assert head.split()[:3] == ["NAME", "READY", "REASON"]
    assert [row.split()[:4] for row in rows] == [
        ["kept", "True", "ScaledToZero", "0/0"],
        ["served", "True", "Serving", "1/1"],
    ]
    (claim,) = tool.read("models", "list", "--claims")["models"]
    assert (claim["model"], claim["claim"], claim["size"], claim["phase"]) == ("kept", "weights", "3Gi", "Pending")


def _read_logs(tool: Tool, namespace: Any) -> None:
    (pod,) = (pod["metadata"]["name"] for pod in namespace.pods("served"))
    lines = tool("logs", "served").out.splitlines()
    assert {line.partition(" | ")[0] for line in lines} == {f"{pod} {name}" for name in ("fetch", "gateway", "server")}
    last = tool("logs", "served", "-c", "server", "--tail", "2").out.splitlines()
    assert len(last) == 2 and all(line.startswith(f"{pod} server | ") for line in last)
    assert "has no pods" in tool("logs", "kept", code=1).err


def _check(tool: Tool, namespace: Any) -> None:
    first, second = tool("version").out.splitlines()
    assert second.startswith("operator ") and first[0].isdecimal()
    good = json.dumps(REFUSED | {"spec": {"model": {"uri": "bundled://pagoda-tiny"}}})
    assert "also to the API server" in tool("validate", "-", "--ask-server", stdin=good).out
    refused = tool("validate", "-", "--ask-server", stdin=json.dumps(REFUSED), code=1).err
    assert "spec" in refused and "autoscaling" in refused
    assert "did you mean served?" in tool("status", "sreved", code=1).err
    assert "new" not in namespace.kubectl("get", "mdep", "-o", "name"), "nothing was written"


def _report(tool: Tool, namespace: str, path: Path) -> None:
    """The bundle has what helps, the metrics by the API server's proxy too, and no key."""
    said = tool("report", "served", "--out", str(path))
    assert "not in it" not in said.err
    with tarfile.open(path) as bundle:
        files = {name: bundle.extractfile(name) for name in bundle.getnames() if bundle.getmember(name).isfile()}
        texts = {name.partition("/")[2]: file.read().decode() for name, file in files.items() if file is not None}
    folder = f"models/{namespace}/served"
    (metrics,) = (text for name, text in texts.items() if name.endswith("/metrics.txt"))
    assert "pagoda_gateway_requests_total" in metrics and "pagoda_server_" in metrics
    assert "All is well" in texts[f"{folder}/why.txt"] and "Serving" in texts[f"{folder}/status.txt"]
    assert any(name.startswith("operator/pods/") and name.endswith(".log") for name in texts)
    assert any(name.startswith(folder) and name.endswith("/server.log") for name in texts)
    assert not any(KEY in text for text in texts.values())


def test_who_may_only_view_sees_what_he_may_and_is_told_the_rest(tool: Tool, namespace: Any) -> None:
    user = f"system:serviceaccount:{namespace.name}:viewer"
    namespace.kubectl("create", "serviceaccount", "viewer")
    bound = f"--serviceaccount={namespace.name}:viewer"
    namespace.kubectl("create", "rolebinding", "viewer", "--clusterrole=view", bound)
    screen = tool("status", "served", "--as", user).out
    assert f"{namespace.name}/served  ready  Serving" in screen
    assert "not shown: you may not get pods/proxy" in " ".join(screen.split())
    why = tool("why", "served", "--as", user).out
    assert "not checked: you may not get secrets" in " ".join(why.split()) and KEY not in why
    assert (
        "you may not create pods/portforward"
        in tool("chat", "served", "--as", user, "--key", "x", "--ask", "Hello?", code=1).err
    )
