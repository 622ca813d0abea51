"""What a spec says of batches reaches the gateway alone, and a pod without them has nothing of it."""

from typing import Any

import pytest

from pagoda_cli.fetch.progress import BATCH_FOLDER
from pagoda_operator.api import ModelDeployment
from pagoda_operator.objects.batch import BATCH_PATH, CACHE_SUB_PATH
from pagoda_operator.objects.ingress import build_ingress
from pagoda_operator.objects.networkpolicy import build_networkpolicy
from pagoda_operator.objects.pod import build_pod_template
from pagoda_operator.objects.settings import BuildSettings

SETTINGS = BuildSettings("control:1", "server:1")
S3 = {"uri": "s3://files/chat", "endpoint": "http://minio.storage:9000", "region": "eu-1", "secretName": "keys"}


def build(batch: dict[str, Any] | None, *, cache: dict[str, Any] | None = None, **spec: Any) -> ModelDeployment:
    raw = {"apiVersion": "pagoda.dev/v1alpha1", "kind": "ModelDeployment", "metadata": {"name": "m", "namespace": "ns"}}
    model = {"uri": "hf://a/b", **({"cache": cache} if cache else {})}
    return ModelDeployment.model_validate({**raw, "spec": {"model": model, "batch": batch, **spec}})


def find_gateway(mdep: ModelDeployment) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the gateway's container, and the volume of each name."""
    spec = build_pod_template(mdep, SETTINGS)["spec"]
    (gateway,) = (one for one in spec["initContainers"] if one["name"] == "gateway")
    return gateway, {volume["name"]: volume for volume in spec["volumes"]}


def find_mount(mdep: ModelDeployment) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the mount of the batches' folder, and its volume."""
    gateway, volumes = find_gateway(mdep)
    (mount,) = (one for one in gateway["volumeMounts"] if one["mountPath"] == BATCH_PATH)
    return mount, volumes[mount["name"]]


def read_flags(mdep: ModelDeployment) -> dict[str, str]:
    command = find_gateway(mdep)[0]["command"]
    return {flag: value for flag, value in zip(command, command[1:], strict=False) if flag.startswith("--batch")}


@pytest.mark.parametrize(
    ("batch", "cache", "claim", "folder"),
    [
        ({}, {"pvc": {"size": "1Gi"}}, "m-models", CACHE_SUB_PATH),
        ({}, {"existingClaim": "shared"}, "shared", "m.batch"),
        ({"existingClaim": "files"}, {"pvc": {"size": "1Gi"}}, "files", "m.batch"),
    ],
)
def test_files_lie_in_a_folder_of_a_claim(
    batch: dict[str, Any], cache: dict[str, Any], claim: str, folder: str
) -> None:
    mdep = build(batch, cache=cache)
    mount, volume = find_mount(mdep)
    assert volume["persistentVolumeClaim"] == {"claimName": claim}
    assert mount["subPath"] == folder and "readOnly" not in mount
    assert read_flags(mdep)["--batch-store"] == BATCH_PATH


def test_a_folder_in_the_models_own_claim_outlives_the_weights() -> None:
    assert CACHE_SUB_PATH == BATCH_FOLDER


def test_a_bucket_is_reached_with_its_keys_and_through_the_policy() -> None:
    mdep = build({"s3": S3})
    gateway, volumes = find_gateway(mdep)
    assert read_flags(mdep)["--batch-store"] == "s3://files/chat"
    assert read_flags(mdep)["--batch-s3-endpoint"] == "http://minio.storage:9000"
    assert read_flags(mdep)["--batch-s3-region"] == "eu-1"
    keys = {one["name"]: one["valueFrom"]["secretKeyRef"] for one in gateway["env"]}
    assert keys == {key: {"name": "keys", "key": key} for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    assert "batch" not in volumes
    policy = build_networkpolicy(mdep, SETTINGS)
    assert policy is not None
    assert {"protocol": "TCP", "port": 9000} in policy["spec"]["egress"][1]["ports"]


def test_limits_become_bytes() -> None:
    mdep = build({"existingClaim": "c", "maxFileSize": "1Gi", "maxTotalSize": "2G", "share": 0.5})
    flags = read_flags(mdep)
    assert (flags["--batch-max-file-bytes"], flags["--batch-max-total-bytes"]) == (str(2**30), str(2 * 10**9))
    assert flags["--batch-share"] == "0.5"


def test_without_batches_there_is_nothing_of_them() -> None:
    gateway, volumes = find_gateway(build(None, cache={"pvc": {"size": "1Gi"}}))
    assert not [word for word in gateway["command"] if "batch" in word]
    assert "env" not in gateway and "batch" not in volumes
    assert BATCH_PATH not in [mount["mountPath"] for mount in gateway["volumeMounts"]]


@pytest.mark.parametrize(("batch", "size"), [(None, "64m"), ({"existingClaim": "c"}, "201m")])
def test_an_ingress_lets_files_through(batch: dict[str, Any] | None, size: str) -> None:
    mdep = build(batch, ingress={"host": "a.example.com"})
    ingress = build_ingress(mdep, class_name="nginx", controller="k8s.io/ingress-nginx")
    assert ingress is not None
    assert ingress["metadata"]["annotations"]["nginx.ingress.kubernetes.io/proxy-body-size"] == size
