"""What is asked of a node: GPUs by resource or by claim, disk, and little for the model that is bundled."""

from decimal import Decimal
from typing import Any

from pagoda_operator.api import ModelDeployment
from pagoda_operator.objects.pod import build_pod_template
from pagoda_operator.objects.settings import BuildSettings
from pagoda_operator.plan.drift import amount_of

SETTINGS = BuildSettings("control:1", "server:1")


def pod_of(uri: str, **spec: Any) -> dict[str, Any]:
    raw = {"apiVersion": "pagoda.dev/v1alpha1", "kind": "ModelDeployment", "metadata": {"name": "m"}}
    mdep = ModelDeployment.model_validate({**raw, "spec": {"model": {"uri": uri}, **spec}})
    pod: dict[str, Any] = build_pod_template(mdep, SETTINGS)["spec"]
    return pod


def server_of(uri: str, **resources: Any) -> dict[str, Any]:
    found: dict[str, Any] = pod_of(uri, resources=resources)["containers"][0]["resources"]
    return found


def requested(pod: dict[str, Any], resource: str) -> Decimal:
    """What the scheduler counts: the containers and sidecars together, or the largest step before them."""
    sidecars = [c for c in pod["initContainers"] if c.get("restartPolicy") == "Always"]
    steps = [c for c in pod["initContainers"] if c.get("restartPolicy") != "Always"]

    def amount(container: dict[str, Any]) -> Decimal:
        found = amount_of(container["resources"]["requests"][resource])
        assert found is not None
        return Decimal(found)

    return max(sum(map(amount, [*sidecars, *pod["containers"]]), Decimal(0)), *map(amount, steps))


def test_two_bundled_models_fit_on_two_cpus_beside_what_a_node_runs_itself() -> None:
    pod = pod_of("bundled://pagoda-tiny")
    assert 2 * requested(pod, "cpu") <= 1
    assert 2 * requested(pod, "memory") <= 3 * 2**30


def test_what_is_said_of_a_bundled_model_goes_before_its_defaults() -> None:
    assert server_of("bundled://pagoda-tiny", cpu="2", memory="4Gi")["requests"]["cpu"] == "2"
    assert server_of("bundled://pagoda-tiny", gpus=1)["requests"]["cpu"] == "1"


def test_a_mig_slice_is_asked_for_by_its_resource() -> None:
    found = server_of("hf://a/b", gpuResource="nvidia.com/mig-3g.40gb")
    assert found["requests"]["nvidia.com/mig-3g.40gb"] == found["limits"]["nvidia.com/mig-3g.40gb"] == "1"
    assert "nvidia.com/gpu" not in found["limits"]


def test_with_claims_the_gpus_come_from_them_and_from_no_extended_resource() -> None:
    claims = [
        {"name": "gpu", "resourceClaimTemplateName": "h100", "request": "gpu"},
        {"name": "nic", "resourceClaimName": "shared"},
    ]
    pod = pod_of("hf://a/b", resources={"claims": claims})
    server = pod["containers"][0]
    assert server["resources"]["claims"] == [{"name": "gpu", "request": "gpu"}, {"name": "nic"}]
    assert pod["resourceClaims"] == [
        {"name": "gpu", "resourceClaimTemplateName": "h100"},
        {"name": "nic", "resourceClaimName": "shared"},
    ]
    assert "nvidia.com/gpu" not in server["resources"]["limits"]
    assert server["command"][server["command"].index("--device") + 1] == "cuda"


def test_disk_that_is_asked_for_is_reserved_and_is_the_size_of_tmp() -> None:
    pod = pod_of("hf://a/b", resources={"ephemeralStorage": "20Gi"})
    resources = pod["containers"][0]["resources"]
    assert resources["requests"]["ephemeral-storage"] == resources["limits"]["ephemeral-storage"] == "20Gi"
    (tmp,) = [volume for volume in pod["volumes"] if volume["name"] == "tmp"]
    assert tmp["emptyDir"]["sizeLimit"] == "20Gi"
