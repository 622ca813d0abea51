"""What a spec says of its pods reaches the containers it is for, and a spec that says nothing has the pods it had."""

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from pagoda_operator.api import ModelDeployment
from pagoda_operator.objects.deployment import build_deployment
from pagoda_operator.objects.pod import build_pod_template
from pagoda_operator.objects.settings import BuildSettings
from pagoda_operator.plan.hashing import hash_of

SETTINGS = BuildSettings("control:1", "server:1", image_pull_secrets=("chart",))
OURS = {"HF_HOME", "HF_HUB_OFFLINE", "TRITON_CACHE_DIR"}


def model(uri: str = "hf://a/b", **spec: Any) -> ModelDeployment:
    raw = {"apiVersion": "pagoda.dev/v1alpha1", "kind": "ModelDeployment", "metadata": {"name": "m", "namespace": "ns"}}
    return ModelDeployment.model_validate({**raw, "spec": {"model": {"uri": uri}, **spec}})


def template(**spec: Any) -> dict[str, Any]:
    return build_pod_template(model(**spec), SETTINGS)


def containers(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    pod = found["spec"]
    return {container["name"]: container for container in [*pod["initContainers"], *pod["containers"]]}


def test_a_spec_that_says_nothing_new_has_the_template_of_the_release_before() -> None:
    plain = build_pod_template(model(), BuildSettings("control:1", "server:1"))
    gpus: dict[str, Any] = {
        "engine": {"tensorParallel": 2},
        "auth": {"apiKeysSecretRef": {"name": "k"}},
        "resources": {"cpu": "4"},
    }
    large = build_pod_template(model(**gpus), BuildSettings("control:1", "server:1", image_pull_secrets=("p",)))
    assert [hash_of(plain)[:16], hash_of(large)[:16]] == ["fcf799a4f2117a42", "902c2e18bfa5369d"]


@pytest.mark.parametrize("gateway", [None, {}, {"chatPage": False}])
def test_a_gateway_that_offers_nothing_more_has_the_command_that_it_had(gateway: dict[str, Any] | None) -> None:
    spec = {} if gateway is None else {"gateway": gateway}
    assert containers(template(**spec))["gateway"]["command"] == containers(template())["gateway"]["command"]


@pytest.mark.parametrize(
    "origin",
    [
        "https://a.example/",
        "HTTPS://a.example",
        "a.example",
        "https://*.example",
        "https://a b",
        "null",
        "https://a,b",
        "",
    ],
)
def test_an_origin_that_no_browser_sends_is_refused(origin: str) -> None:
    with pytest.raises(ValidationError, match="allowedOrigins"):
        model(gateway={"cors": {"allowedOrigins": [origin]}})


def test_variables_reach_fetch_and_server_and_never_the_gateway_with_the_keys() -> None:
    env = [
        {"name": "NCCL_DEBUG", "value": "INFO"},
        {"name": "T", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
    ]
    found = containers(template(pod={"env": env, "envFrom": [{"configMapRef": {"name": "c"}, "prefix": "P_"}]}))
    for name in ("fetch", "server"):
        assert [v for v in found[name]["env"] if v["name"] not in OURS] == env
        assert found[name]["envFrom"] == [{"configMapRef": {"name": "c"}, "prefix": "P_"}]
    assert "env" not in found["gateway"] and "envFrom" not in found["gateway"]


def test_volumes_are_mounted_in_fetch_and_server_only() -> None:
    volumes = [{"name": "conf", "configMap": {"name": "c"}}, {"name": "space", "emptyDir": {"sizeLimit": "1Gi"}}]
    mount = {"name": "conf", "mountPath": "/mnt/conf", "readOnly": True}
    found = template(pod={"volumes": volumes, "volumeMounts": [mount]})
    assert [v for v in found["spec"]["volumes"] if v["name"] in ("conf", "space")] == volumes
    assert all(mount in containers(found)[name]["volumeMounts"] for name in ("fetch", "server"))
    assert mount not in containers(found)["gateway"]["volumeMounts"]


def test_labels_and_annotations_are_on_the_pods_beside_ours() -> None:
    bare = template()["metadata"]
    found = template(pod={"labels": {"team": "search"}, "annotations": {"a/b": "c"}})["metadata"]
    assert found == {"labels": {**bare["labels"], "team": "search"}, "annotations": {"a/b": "c"}}


def test_the_service_account_comes_without_its_token() -> None:
    pod = template(pod={"serviceAccountName": "reader"})["spec"]
    assert (pod["serviceAccountName"], pod["automountServiceAccountToken"]) == ("reader", False)
    assert "serviceAccountName" not in template()["spec"]


def test_an_image_of_the_server_leaves_gateway_and_fetch_as_they_are() -> None:
    image = {"server": "r.example/s@sha256:" + "a" * 64, "pullPolicy": "Always", "pullSecrets": [{"name": "own"}]}
    found = template(image=image)
    assert {name: c["image"] for name, c in containers(found).items()} == {
        "fetch": "control:1",
        "gateway": "control:1",
        "server": image["server"],
    }
    assert {c["imagePullPolicy"] for c in containers(found).values()} == {"Always"}
    assert found["spec"]["imagePullSecrets"] == [{"name": "chart"}, {"name": "own"}]


def test_the_gateway_may_take_longer_to_start() -> None:
    probe = containers(template(pod={"startupSeconds": 300}))["gateway"]["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] == 300


def test_the_scheduler_is_named_and_a_rollout_has_its_deadline() -> None:
    assert template(scheduling={"schedulerName": "volcano"})["spec"]["schedulerName"] == "volcano"
    deployment = build_deployment(model(rollout={"progressDeadlineSeconds": 7200}), SETTINGS, replicas=1)
    assert deployment["spec"]["progressDeadlineSeconds"] == 7200


@pytest.mark.parametrize(("spec", "size"), [({}, "2Gi"), ({"resources": {"sharedMemory": "8Gi"}}, "8Gi")])
def test_shared_memory_has_the_size_asked_for(spec: dict[str, Any], size: str) -> None:
    (shm,) = [v for v in template(**spec)["spec"]["volumes"] if v["name"] == "shm"]
    assert shm["emptyDir"] == {"medium": "Memory", "sizeLimit": size}


def test_on_the_cpu_there_is_shared_memory_only_where_it_is_asked_for() -> None:
    def mounts(**resources: Any) -> list[str]:
        found = template(resources={"gpus": 0, **resources})
        return [mount["mountPath"] for mount in containers(found)["server"]["volumeMounts"]]

    assert "/dev/shm" not in mounts() and "/dev/shm" in mounts(sharedMemory="1Gi")


def test_the_pod_runs_as_the_user_of_the_settings_or_of_the_platform() -> None:
    named = build_pod_template(model(), SETTINGS)["spec"]["securityContext"]
    assert (named["runAsUser"], named["fsGroup"]) == (10001, 10001)
    assert "runAsUser" not in build_pod_template(model(), replace(SETTINGS, user_id=0))["spec"]["securityContext"]
