"""Rule 4: what the author of a ModelDeployment could not write, the operator does not write for them."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from pagoda_operator.api.allowed import Allowed
from pagoda_operator.api.pod import Image, Pod, ProjectedSource, Volume
from pagoda_operator.api.service import ServiceSettings
from pagoda_operator.objects.pod import build_pod_template
from pagoda_operator.objects.settings import BuildSettings, IngressRules
from pagoda_operator.plan import ReconcilePlan, World, plan, world_of

NOW = datetime(2026, 1, 2, tzinfo=UTC)
SETTINGS = BuildSettings("control:1", "server:1")
CLASS = {"metadata": {"name": "nginx"}, "spec": {"controller": "k8s.io/ingress-nginx"}}
RATE = "nginx.ingress.kubernetes.io/limit-rps"
RULES = IngressRules(("llm.example.com", "{namespace}.models.example.com"), (RATE,))
ATTACKS = [
    {"nginx.ingress.kubernetes.io/configuration-snippet": "return 200;"},
    {"nginx.ingress.kubernetes.io/server-snippet": "location /x {}"},
    {"nginx.ingress.kubernetes.io/auth-secret": "other/secret"},
    {"nginx.org/server-snippets": "location /x {}"},
    {"external-dns.alpha.kubernetes.io/hostname": "bank.example"},
    {f"{RATE}\n": "1"},
    {RATE: "1\nreturn 200;"},
    {RATE: "1\u2028"},
    {RATE: "x" * 5000},
]


def world(rules: IngressRules, **ingress: Any) -> World:
    resource = {
        "apiVersion": "pagoda.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": "m", "namespace": "team", "uid": "u", "generation": 1},
        "spec": {"model": {"uri": "bundled://pagoda-tiny"}, "ingress": {"host": "a.llm.example.com", **ingress}},
    }
    return world_of(resource, ingress_classes=(CLASS,), ingress_rules=rules)


def ingresses(found: ReconcilePlan) -> list[dict[str, Any]]:
    return [obj for obj in found.objects if obj["kind"] == "Ingress"]


def condition(found: ReconcilePlan, kind: str) -> dict[str, Any]:
    return next(c for c in found.status["conditions"] if c["type"] == kind)


@pytest.mark.parametrize("annotations", ATTACKS)
def test_an_annotation_that_is_not_listed_is_not_written_and_the_status_names_it(annotations: dict[str, str]) -> None:
    found = plan(world(RULES, annotations=annotations), NOW, SETTINGS)
    assert not ingresses(found)
    assert condition(found, "Ingress")["reason"] == condition(found, "Ready")["reason"] == "IngressNotAllowed"
    assert next(iter(annotations)).strip()[:20] in condition(found, "Ingress")["message"]
    assert found.status["url"] == "http://m.team.svc:8000/v1"


@pytest.mark.parametrize("host", ["bank.example", "example.com", "xllm.example.com", "other.models.example.com"])
def test_a_host_outside_the_suffixes_is_not_written(host: str) -> None:
    found = plan(world(RULES, host=host), NOW, SETTINGS)
    assert not ingresses(found) and host in condition(found, "Ingress")["message"]


@pytest.mark.parametrize("host", ["llm.example.com", "a.b.llm.example.com", "x.team.models.example.com"])
def test_what_is_listed_is_written(host: str) -> None:
    (written,) = ingresses(plan(world(RULES, host=host, annotations={RATE: "5"}), NOW, SETTINGS))
    assert written["spec"]["rules"][0]["host"] == host
    assert written["metadata"]["annotations"][RATE] == "5"


def test_by_default_no_host_is_allowed_and_a_star_allows_all() -> None:
    assert not ingresses(plan(world(IngressRules()), NOW, SETTINGS))
    assert ingresses(plan(world(IngressRules(("*",))), NOW, SETTINGS))


@given(st.dictionaries(st.text(max_size=40), st.text(max_size=40), max_size=4))
def test_no_annotation_but_ours_and_the_listed_reaches_an_ingress(annotations: dict[str, str]) -> None:
    bare = ingresses(plan(world(RULES), NOW, SETTINGS))[0]["metadata"]["annotations"]
    for written in ingresses(plan(world(RULES, annotations=annotations), NOW, SETTINGS)):
        assert set(written["metadata"]["annotations"]) <= {*bare, RATE}


@pytest.mark.parametrize("uri", ["bundled://pagoda-tiny", "hf://a/b", "pvc://claim/x"])
@pytest.mark.parametrize("gpus", [0, 1])
def test_no_container_and_no_volume_is_without_a_limit(uri: str, gpus: int) -> None:
    resource = world(RULES).raw
    spec = {"model": {"uri": uri}, "resources": {"gpus": gpus}}
    mdep = world_of({**resource, "spec": spec}).mdep
    assert mdep is not None
    pod = build_pod_template(mdep, SETTINGS)["spec"]
    for container in [*pod["initContainers"], *pod["containers"]]:
        limits, requests = container["resources"]["limits"], container["resources"]["requests"]
        assert {"memory", "ephemeral-storage"} <= set(limits)
        assert requests["ephemeral-storage"] == "64Mi", "else the limit would be taken for the request"
    assert all("sizeLimit" in volume["emptyDir"] for volume in pod["volumes"] if "emptyDir" in volume)


JUDGED = {
    *("image.server", "pod.labels", "pod.annotations", "pod.env", "pod.env_from", "pod.service_account_name"),
    *("pod.volumes", "service.type", "service.annotations"),
}
"""What `models.allowed` decides about."""
HARMLESS = {
    "image.pull_policy": "the same images",
    "image.pull_secrets": "a credential goes to its own registry, and says nothing to anybody else",
    "pod.volume_mounts": "below /mnt, where no program, library, model or key is",
    "pod.startup_seconds": "a time",
    "service.load_balancer_class": "only with type LoadBalancer",
    "service.load_balancer_source_ranges": "only fewer may come",
}


def test_whatever_an_author_may_say_of_pods_and_services_is_judged_or_said_to_be_harmless() -> None:
    blocks: dict[str, type[BaseModel]] = {"image": Image, "pod": Pod, "service": ServiceSettings}
    fields = {f"{name}.{field}" for name, block in blocks.items() for field in block.model_fields}
    assert fields == JUDGED | set(HARMLESS)


@pytest.mark.parametrize("kind", sorted(set(Volume.model_fields) - {"name"}))
def test_no_volume_is_of_the_node_or_has_a_token(kind: str) -> None:
    assert kind in {"config_map", "secret", "persistent_volume_claim", "empty_dir", "projected"}
    assert set(ProjectedSource.model_fields) == {"config_map", "secret"}


NAMES = st.lists(st.sampled_from(["A", "B", "NCCL_X", "team"]), min_size=1, unique=True)
LISTED = st.lists(st.sampled_from(["A", "B", "NCCL_X", "NCCL_*", "team", "te", "*"]), unique=True)


@given(variables=NAMES, labels=NAMES, env=LISTED, pod_labels=LISTED)
def test_variables_and_labels_reach_a_pod_if_all_are_listed_and_only_then(
    variables: list[str], labels: list[str], env: list[str], pod_labels: list[str]
) -> None:
    pod = {"env": [{"name": name, "value": "x"} for name in variables], "labels": dict.fromkeys(labels, "x")}
    resource = {**world(RULES).raw, "spec": {"model": {"uri": "bundled://pagoda-tiny"}, "pod": pod}}
    allowed = Allowed(env=tuple(env), pod_labels=tuple(pod_labels))
    starts = {"NCCL_X"} if "NCCL_*" in env else set()
    listed = ("*" in env or set(variables) <= {*env} | starts) and ("*" in pod_labels or set(labels) <= {*pod_labels})
    assert bool(plan(world_of(resource, allowed=allowed), NOW, SETTINGS).objects) is listed
