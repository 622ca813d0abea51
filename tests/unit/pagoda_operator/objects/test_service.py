"""The Service is inside the cluster unless another type is asked for."""

from typing import Any

from pagoda_operator.api import ModelDeployment
from pagoda_operator.objects.service import build_service


def service(**wanted: Any) -> dict[str, Any]:
    raw = {"apiVersion": "pagoda.dev/v1alpha1", "kind": "ModelDeployment", "metadata": {"name": "m", "namespace": "ns"}}
    spec = {"model": {"uri": "bundled://pagoda-tiny"}, "service": wanted}
    return build_service(ModelDeployment.model_validate({**raw, "spec": spec}))


def test_by_default_it_is_a_cluster_ip_without_annotations() -> None:
    found = service()
    assert found["spec"]["type"] == "ClusterIP" and "annotations" not in found["metadata"]
    assert set(found["spec"]) == {"type", "selector", "ports"}


def test_a_load_balancer_has_its_class_its_ranges_and_its_annotations() -> None:
    found = service(
        type="LoadBalancer",
        annotations={"example.com/internal": "true"},
        loadBalancerClass="example.com/nlb",
        loadBalancerSourceRanges=["192.0.2.0/24"],
    )
    assert found["metadata"]["annotations"] == {"example.com/internal": "true"}
    assert found["spec"]["loadBalancerClass"] == "example.com/nlb"
    assert found["spec"]["loadBalancerSourceRanges"] == ["192.0.2.0/24"]
