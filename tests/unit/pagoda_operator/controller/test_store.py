"""The store keeps what is newest and knows what belongs to whom."""

from typing import Any

import pytest

from pagoda_operator.controller.store import Store, owner_of

KEY = ("ns", "tiny")


def made(kind: str, name: str, version: int, *, owner: str = "tiny", **labels: str) -> dict[str, Any]:
    meta: dict[str, Any] = {"namespace": "ns", "name": name, "uid": name, "resourceVersion": str(version)}
    meta |= {"labels": labels, "managedFields": [{}]}
    if owner and kind != "ModelDeployment":
        meta["ownerReferences"] = [{"kind": "ModelDeployment", "name": owner}]
    return {"kind": kind, "metadata": meta}


def test_an_older_version_is_not_news() -> None:
    store = Store()
    assert store.put(made("Deployment", "tiny", 5))
    assert not store.put(made("Deployment", "tiny", 4))
    assert not store.put(made("Deployment", "tiny", 5))
    assert store.put(made("Deployment", "tiny", 10))


def test_a_late_deletion_does_not_remove_what_was_made_after_it() -> None:
    store = Store()
    store.put(made("Deployment", "tiny", 9))
    assert not store.remove(made("Deployment", "tiny", 8))
    assert store.remove(made("Deployment", "tiny", 10))
    assert store.children(KEY) == []


def test_a_late_event_brings_back_nothing_that_is_gone() -> None:
    store = Store()
    store.put(made("Deployment", "tiny", 8))
    store.put(made("Service", "tiny", 8))
    store.remove(made("Deployment", "tiny", 10))
    store.forget("Service", "ns", "tiny", uid="tiny")
    for kind, version in (("Deployment", 9), ("Deployment", 10), ("Service", 8)):
        assert not store.put(made(kind, "tiny", version))
    assert store.children(KEY) == []
    assert store.put(made("Deployment", "tiny", 11)), "another one of that name"


def test_a_deletion_that_comes_before_all_that_was_seen_counts_too() -> None:
    store = Store()
    assert not store.remove(made("Deployment", "tiny", 10))
    assert not store.put(made("Deployment", "tiny", 9))


def test_deletions_are_remembered_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pagoda_operator.controller.store.MAXIMUM_GONE", 2)
    store = Store()
    for name in ("a", "b", "c"):
        store.remove(made("Deployment", name, 5))
    assert [store.put(made("Deployment", name, 4)) for name in ("a", "b", "c")] == [True, False, False]


def test_children_are_found_by_owner_and_pods_by_label() -> None:
    store = Store()
    store.put(made("ModelDeployment", "tiny", 1))
    store.put(made("Deployment", "tiny", 2))
    by_tiny = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "tiny-5d4f", "controller": True}
    pod = made("Pod", "tiny-x", 3, owner="", **{"pagoda.dev/model-deployment": "tiny", "pod-template-hash": "5d4f"})
    pod["metadata"]["ownerReferences"] = [by_tiny]
    store.put(pod)
    store.put(made("Pod", "other", 4, owner="", **{"pagoda.dev/model-deployment": "other"}))
    assert {child["metadata"]["name"] for child in store.children(KEY)} == {"tiny", "tiny-x"}
    assert list(store.model_keys()) == [KEY]


def test_a_class_of_the_cluster_concerns_everyone() -> None:
    assert owner_of({"kind": "IngressClass", "metadata": {"name": "nginx"}}) is None


def test_a_list_removes_what_a_watch_forgot_to_report() -> None:
    store = Store()
    store.put(made("Deployment", "gone", 1))
    known = store.ids()
    store.put(made("Deployment", "younger-than-the-list", 7))
    changed = store.merge_list("Deployment", [made("Deployment", "new", 6)], known_before=known)
    assert {obj["metadata"]["name"] for obj in changed} == {"gone", "new"}
    names = {obj["metadata"]["name"] for obj in store.of_kind("Deployment")}
    assert names == {"new", "younger-than-the-list"}


def test_managed_fields_are_not_kept() -> None:
    store = Store()
    store.put(made("Deployment", "tiny", 1))
    assert "managedFields" not in store.children(KEY)[0]["metadata"]


def test_of_a_pod_only_what_a_plan_reads_is_kept() -> None:
    store = Store()
    pod = made("Pod", "tiny-x", 3, owner="", **{"pagoda.dev/model-deployment": "tiny", "pod-template-hash": "5d4f"})
    pod["metadata"]["ownerReferences"] = [
        {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "tiny-5d4f", "controller": True}
    ]
    pod["metadata"]["annotations"] = {"large": "x" * 2000, "small": "y"}
    container = {"name": "server", "image": "i", "resources": {"limits": {"memory": "1Gi"}}}
    pod["spec"] = {"containers": [{**container, "env": [{"name": "A", "value": "x" * 1000}]}], "volumes": [{}]}
    pod["status"] = {"podIP": "10.0.0.1"}
    store.put(pod)
    (kept,) = store.pods(KEY)
    assert kept["metadata"]["annotations"] == {"small": "y"} and kept["status"] == {"podIP": "10.0.0.1"}
    assert kept["spec"] == {"containers": [container]}


def test_annotations_of_what_we_write_are_kept_whole_but_for_what_kubectl_remembers() -> None:
    store = Store()
    ingress = made("Ingress", "tiny", 1)
    ingress["metadata"]["annotations"] = {
        "kubectl.kubernetes.io/last-applied-configuration": "{}",
        "nginx.ingress.kubernetes.io/long": "x" * 5000,
    }
    store.put(ingress)
    assert set(store.children(KEY)[0]["metadata"]["annotations"]) == {"nginx.ingress.kubernetes.io/long"}


def test_an_object_of_a_stranger_concerns_no_model_but_the_one_that_it_names() -> None:
    store = Store()
    store.put(made("ModelDeployment", "tiny", 1))
    store.put(made("ModelDeployment", "other", 2))
    label = "pagoda.dev/model-deployment"
    assert store.concerned_by(made("Pod", "x", 3, owner="", **{label: "tiny"})) == [KEY]
    assert store.concerned_by(made("Pod", "x", 3, owner="", **{label: "no-such-model"})) == []
    assert store.concerned_by(made("Pod", "x", 3, owner="")) == []
    assert len(store.concerned_by({"kind": "IngressClass", "metadata": {"name": "nginx"}})) == 2
    assert store.concerned_by(made("ModelDeployment", "deleted", 4)) == [("ns", "deleted")]


def asking(name: str, host: str | None, version: int) -> dict[str, Any]:
    found = made("ModelDeployment", name, version)
    return {**found, "spec": {"ingress": {"host": host}} if host else {}}


def test_rivals_are_the_others_that_ask_for_the_same_host_now() -> None:
    store = Store()
    a, b = asking("a", "x.example.com", 1), asking("b", "x.example.com", 2)
    ingress = made("Ingress", "b", 3, owner="b")
    for obj in (a, b, asking("c", "y.example.com", 4), asking("d", None, 5), ingress):
        store.put(obj)
    assert [(m["metadata"]["name"], i is not None) for m, i in store.rivals(a)] == [("b", True)]
    assert [(key, i is not None) for key, _, i in store.models_with_ingress()] == [
        (("ns", "a"), False),
        (("ns", "b"), True),
        (("ns", "c"), False),
    ]
    store.put(asking("b", "y.example.com", 6))
    assert store.rivals(a) == []
    store.remove(asking("b", "y.example.com", 7))
    assert store.rivals(asking("c", "y.example.com", 4)) == []
    assert store.rivals(asking("d", None, 5)) == []
