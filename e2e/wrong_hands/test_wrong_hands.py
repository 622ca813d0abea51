"""People make typical mistakes: for each, `kubectl pagoda why` names the cause first, and a step that mends it."""

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from .mistakes import MISTAKES, SLOW, Mistake

HOST = "running.example.com"
SYSTEM = "pagoda-system"
NOBODY = "e2e-nobody-provisions"
IMAGES = "models.allowed.images={192.0.2.1:5000}"


@pytest.fixture
def storage_class(pagoda: Any) -> Iterator[None]:
    """A StorageClass whose claims nobody provides."""
    obj = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": NOBODY}}
    obj |= {"provisioner": "example.com/nobody", "volumeBindingMode": "Immediate"}
    pagoda.kubectl("apply", "-f", "-", stdin=json.dumps(obj))
    yield
    pagoda.kubectl("delete", "storageclass", NOBODY)


@pytest.fixture
def images_of_the_registry(pagoda: Any) -> Iterator[None]:
    """A chart that lets authors choose an image of the cluster's registry."""
    pagoda.install_this(IMAGES)
    yield
    pagoda.install_this()


def why(namespace: Any, name: str) -> Any:
    return namespace.cluster.tool("why", name, "-n", namespace.name)


def list_causes(said: str) -> list[str]:
    """The reasons of the causes that a screen names, in its order."""
    return re.findall(r"^(?:\S+/\S+|the cluster)  ([A-Z]\w+)$", said, re.MULTILINE)


def flatten(said: str) -> str:
    """A screen without its line breaks."""
    return re.sub(r"\s+", " ", said)


def judge(mistake: Mistake, said: Any, row: dict[str, str], namespace: str) -> list[str]:
    """What the screen and the row of `kubectl get` lack."""
    text, step = flatten(said.out), mistake.step.format(ns=namespace)
    lacks = [f"the words {words!r}" for words in mistake.cause if words not in text]
    lacks += [f"the step {step!r}"] if step not in text.partition(" do ")[2] else []
    lacks += [f"exit code 1, not {said.code}"] if said.code != 1 else []
    lacks += [f"one cause, not {list_causes(said.out)}"] if list_causes(said.out) != [mistake.reason] else []
    shown, expected = (row["READY"], row["REASON"]), (mistake.ready, mistake.column or mistake.reason)
    return lacks + ([f"{expected} in kubectl get, not {shown}"] if shown != expected else [])


def has_reasons(namespace: Any) -> list[str]:
    """The rows whose reason no condition gives yet."""
    models = {model["metadata"]["name"]: model for model in namespace.cluster.items("mdep", namespace.name)}
    found = {name: {c["reason"] for c in m.get("status", {}).get("conditions", ())} for name, m in models.items()}
    return [f"{row.name} ({row.reason})" for row in MISTAKES if row.reason not in found[row.name]]


def read_rows(namespace: Any) -> dict[str, dict[str, str]]:
    head, *rows = namespace.kubectl("get", "mdep").splitlines()
    split = [re.split(r"  +", row) for row in rows]
    return {row[0]: dict(zip(head.split(), row, strict=False)) for row in split}


def make_mistakes(namespace: Any) -> None:
    namespace.kubectl("create", "secret", "generic", "hub", "--from-literal=hf-token=x")
    namespace.kubectl("create", "service", "clusterip", "taken", "--tcp=80")
    namespace.apply("first-host", replicas=0, ingress={"host": "taken.example.com", "className": "nginx"})
    namespace.wait_reason("first-host", "Written", type_="Ingress", status="True")
    for mistake in MISTAKES:
        namespace.apply(mistake.name, **mistake.spec)
    namespace.wait_reason("no-certificate", "Written", type_="Ingress", status="True")
    # NB: the cluster's ingress-nginx leaves Ingresses without an address, which a load balancer would have
    address = json.dumps({"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}})
    namespace.kubectl("patch", "ingress", "no-certificate", "--subresource=status", "--type=merge", "-p", address)


def test_each_mistake_in_a_manifest_is_explained(
    images_of_the_registry: None, storage_class: None, namespace: Any, wait_for: Any
) -> None:
    make_mistakes(namespace)
    wait_for(lambda: not has_reasons(namespace), SLOW, lambda: f"seen: {has_reasons(namespace)}")
    rows, wrong = read_rows(namespace), []
    with ThreadPoolExecutor(4) as pool:
        screens = list(pool.map(lambda mistake: why(namespace, mistake.name), MISTAKES))
    for mistake, said in zip(MISTAKES, screens, strict=True):
        print(f"\n$ kubectl pagoda why {mistake.name} -n {namespace.name}\n{said.out}{said.err}({said.code})")
        lacks = judge(mistake, said, rows[mistake.name], namespace.name)
        wrong += [f"{mistake.name} lacks {'; '.join(lacks)}\n{said.out}{said.err}"] if lacks else []
    assert not wrong, "\n".join(wrong)
    everything = namespace.cluster.tool("why", "-n", namespace.name)
    assert everything.code == 1
    named = set(re.findall(rf"^{namespace.name}/(\S+)", everything.out, re.MULTILINE))
    assert {mistake.name for mistake in MISTAKES} <= named


def test_a_quota_that_lets_no_pod_in_is_explained(namespace: Any) -> None:
    namespace.kubectl("create", "quota", "none", "--hard=pods=0")
    namespace.apply("over")
    namespace.wait_reason("over", "PodsNotCreated")
    said = why(namespace, "over")
    print(said.out)
    assert (said.code, list_causes(said.out)) == (1, ["PodsNotCreated"])
    assert "exceeded quota: none" in flatten(said.out)
    assert f"kubectl -n {namespace.name} describe quota,limitrange" in said.out


def test_a_wrong_key_is_told_and_is_no_fault_of_the_model(namespace: Any) -> None:
    namespace.kubectl("create", "secret", "generic", "keys", "--from-literal=team=k-4f1c9d2e7a")
    namespace.apply("keyed", auth={"apiKeysSecretRef": {"name": "keys"}})
    namespace.wait_ready("keyed")
    refused = namespace.cluster.tool("chat", "keyed", "-n", namespace.name, "--key", "wrong", "--ask", "Hello?")
    assert refused.code == 1 and "401" in refused.err, refused
    said = why(namespace, "keyed")
    print(said.out)
    assert (said.code, list_causes(said.out)) == (0, ["KeysRefused"])
    assert "1 request was refused with 401" in flatten(said.out)
    right = namespace.cluster.tool("chat", "keyed", "-n", namespace.name, "--ask", "Hello?")
    assert right.code == 0 and "tenant team" in right.err, right


def test_a_running_model_in_wrong_hands_serves_on(namespace: Any, wait_for: Any) -> None:
    ingress = {"host": HOST, "className": "nginx"}
    namespace.apply("running", ingress=ingress)
    namespace.wait_ready("running")
    namespace.wait_routed(HOST)
    assert why(namespace, "running").out == "All is well: the model is healthy.\n"
    with namespace.streaming("running", HOST, streams=2, seconds=60) as load:
        _edit_badly(namespace, ingress)
        _pause(namespace, ingress, wait_for)
        _stop_operator(namespace, wait_for)
        counts = load.wait_counts()
    assert counts["whole"] > 0 and counts["cut"] == counts["failed"] == 0, counts


def _edit_badly(namespace: Any, ingress: dict[str, str]) -> None:
    namespace.apply("running", ingress=ingress, model={"uri": "bundled://no-such-model"})
    namespace.wait_reason("running", "RolloutFailing", status="True")
    said = why(namespace, "running")
    print(said.out)
    assert (said.code, list_causes(said.out)) == (1, ["RolloutFailing"])
    text = flatten(said.out)
    assert "bundled://no-such-model" in text and "older revision" in text and "spec.model.uri" in text
    assert f"kubectl -n {namespace.name} apply -f FILE" in text
    row = namespace.row("running")
    assert (row["READY"], row["REASON"]) == ("True", "RolloutFailing")
    namespace.apply("running", ingress=ingress)
    namespace.wait_reason("running", "Serving", status="True")


def _pause(namespace: Any, ingress: dict[str, str], wait_for: Any) -> None:
    namespace.kubectl("rollout", "pause", "deployment/running")
    namespace.apply("running", ingress=ingress, queue={"maxQueued": 100})
    namespace.wait_reason("running", "Paused", type_="Progressing")
    said = why(namespace, "running")
    print(said.out)
    assert (said.code, list_causes(said.out)) == (1, ["Paused"])
    assert f"kubectl -n {namespace.name} rollout resume deployment/running" in said.out
    namespace.kubectl("rollout", "resume", "deployment/running")
    namespace.apply("running", ingress=ingress)
    namespace.wait_reason("running", "Complete", type_="Progressing")


def _stop_operator(namespace: Any, wait_for: Any) -> None:
    scale = ("-n", SYSTEM, "scale", "deployment/pagoda")
    namespace.cluster.kubectl(*scale, "--replicas=0")
    try:
        wait_for(lambda: "OperatorDown" in why(namespace, "running").out, 60, lambda: why(namespace, "running"))
        said = why(namespace, "running")
        print(said.out)
        assert said.code == 1 and list_causes(said.out)[0] == "OperatorDown"
        assert f"kubectl -n {SYSTEM} scale deployment pagoda --replicas=1" in said.out
    finally:
        namespace.cluster.kubectl(*scale, "--replicas=1")
        namespace.cluster.wait_operator()
    wait_for(lambda: why(namespace, "running").code == 0, 60, lambda: why(namespace, "running"))
