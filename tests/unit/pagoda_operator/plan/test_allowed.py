"""An author has what the chart's values list, and nothing of the rest; what a profile says needs no leave."""

from datetime import UTC, datetime
from typing import Any

import pytest

from pagoda_operator.api.allowed import Allowed
from pagoda_operator.api.profile import Profiles, read_profiles
from pagoda_operator.objects.settings import BuildSettings
from pagoda_operator.plan import ReconcilePlan, plan, world_of

NOW = datetime(2026, 1, 2, tzinfo=UTC)
SETTINGS = BuildSettings("control:1", "server:1")


def planned(spec: dict[str, Any], allowed: Allowed, profiles: Profiles | None = None) -> ReconcilePlan:
    resource = {
        "apiVersion": "pagoda.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": "m", "namespace": "team", "uid": "u", "generation": 1},
        "spec": {"model": {"uri": "hf://a/b"}, **spec},
    }
    return plan(world_of(resource, allowed=allowed, profiles=profiles), NOW, SETTINGS)


def secret_variable(name: str) -> dict[str, Any]:
    return {"pod": {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": name, "key": "k"}}}]}}


WISHES: list[tuple[dict[str, Any], str, str, str]] = [
    ({"image": {"server": "r.example/a/s:1"}}, "images", "r.example/a", "spec.image.server: r.example/a/s:1"),
    ({"pod": {"serviceAccountName": "sa"}}, "serviceAccounts", "sa", "spec.pod.serviceAccountName: sa"),
    ({"pod": {"labels": {"team": "x"}}}, "podLabels", "team", "spec.pod.labels: team"),
    ({"pod": {"annotations": {"a/b": "x"}}}, "podAnnotations", "a/b", "spec.pod.annotations: a/b"),
    ({"pod": {"env": [{"name": "LD_PRELOAD", "value": "/mnt/x.so"}]}}, "env", "LD_PRELOAD", "spec.pod.env: LD_PRELOAD"),
    ({"pod": {"env": [{"name": "NCCL_IB_HCA"}]}}, "env", "NCCL_*", "spec.pod.env: NCCL_IB_HCA"),
    ({"pod": {"envFrom": [{"secretRef": {"name": "s"}}]}}, "sources", "secret/s", "spec.pod: secret/s"),
    ({"pod": {"envFrom": [{"configMapRef": {"name": "c"}}]}}, "sources", "configMap/c", "spec.pod: configMap/c"),
    ({"pod": {"volumes": [{"name": "v", "configMap": {"name": "c"}}]}}, "sources", "configMap/c", "configMap/c"),
    ({"pod": {"volumes": [{"name": "v", "secret": {"secretName": "s"}}]}}, "sources", "secret/s", "secret/s"),
    (
        {"pod": {"volumes": [{"name": "v", "projected": {"sources": [{"secret": {"name": "s"}}]}}]}},
        "sources",
        "secret/s",
        "secret/s",
    ),
    ({"service": {"type": "LoadBalancer"}}, "serviceTypes", "LoadBalancer", "spec.service.type: LoadBalancer"),
    ({"service": {"annotations": {"a/b": "x"}}}, "serviceAnnotations", "a/b", "spec.service.annotations: a/b"),
]


@pytest.mark.parametrize(("spec", "list_name", "entry", "said"), WISHES)
def test_what_is_not_listed_changes_nothing_and_the_status_names_it_the_list_and_the_fix(
    spec: dict[str, Any], list_name: str, entry: str, said: str
) -> None:
    found = planned(spec, Allowed())
    assert (found.objects, found.deletions) == ((), ())
    ready = found.status["conditions"][0]
    assert (ready["type"], ready["status"], ready["reason"]) == ("Ready", "False", "NotAllowed")
    assert said in ready["message"] and f"models.allowed.{list_name}: none" in ready["message"]


@pytest.mark.parametrize(("spec", "list_name", "entry", "said"), WISHES)
def test_what_is_listed_is_written(spec: dict[str, Any], list_name: str, entry: str, said: str) -> None:
    assert planned(spec, Allowed.model_validate({list_name: [entry]})).objects


def test_a_variable_needs_leave_for_its_name_and_for_the_secret_that_it_reads() -> None:
    assert not planned(secret_variable("s"), Allowed(env=("A",))).objects
    assert not planned(secret_variable("s"), Allowed(sources=("secret/s",))).objects
    assert not planned(secret_variable("other"), Allowed(env=("A",), sources=("secret/s",))).objects
    assert planned(secret_variable("s"), Allowed(env=("A",), sources=("secret/s",))).objects


@pytest.mark.parametrize("image", ["r.example/ab/s:1", "r.example/a-b:1", "x.r.example/a/s:1", "r.example/a"])
def test_an_image_is_allowed_by_whole_parts_of_its_name(image: str) -> None:
    allowed = Allowed(images=("r.example/a/", "r.example/b/s"))
    assert not planned({"image": {"server": image}}, allowed).objects
    assert planned({"image": {"server": "r.example/b/s@sha256:" + "0" * 64}}, allowed).objects


def test_a_cluster_ip_an_empty_dir_a_claim_and_a_field_of_the_pod_are_everybodys() -> None:
    volumes = [
        {"name": "a", "emptyDir": {"sizeLimit": "1Gi"}},
        {"name": "b", "persistentVolumeClaim": {"claimName": "c"}},
    ]
    assert planned({"pod": {"volumes": volumes}, "service": {"type": "ClusterIP"}}, Allowed()).objects


def test_what_a_profile_says_needs_no_leave_and_what_the_author_adds_does() -> None:
    profiles = Profiles(named=read_profiles({"p": {"pod": {"serviceAccountName": "sa", "labels": {"team": "x"}}}}))
    (deployment,) = [o for o in planned({"profile": "p"}, Allowed(), profiles).objects if o["kind"] == "Deployment"]
    assert deployment["spec"]["template"]["spec"]["serviceAccountName"] == "sa"
    assert not planned({"profile": "p", "pod": {"serviceAccountName": "other"}}, Allowed(), profiles).objects


def test_a_list_that_is_narrowed_later_leaves_what_runs_alone() -> None:
    found = planned({"pod": {"labels": {"team": "x"}}}, Allowed())
    assert found.deletions == () and found.status["conditions"][0]["reason"] == "NotAllowed"
