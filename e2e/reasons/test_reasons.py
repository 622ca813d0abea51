"""A person asks for what cannot be: the status says what is wrong, in words that lead to the fix."""

import json
from typing import Any


def test_a_gpu_that_no_node_has(namespace: Any) -> None:
    namespace.apply("greedy", resources={"gpus": 1, "gpuResource": "example.com/gpu"})
    assert "example.com/gpu" in namespace.wait_reason("greedy", "Unschedulable")


def test_an_ingress_class_that_does_not_exist(namespace: Any) -> None:
    namespace.apply("classless", ingress={"host": "classless.example.com", "className": "no-such-class"})
    assert "no-such-class" in namespace.wait_reason("classless", "NoIngressClass", type_="Ingress")


def test_a_claim_without_a_storage_class(namespace: Any) -> None:
    namespace.apply("claimless", model={"uri": "bundled://pagoda-tiny", "cache": {"pvc": {"size": "1Gi"}}})
    assert namespace.wait_reason("claimless", "NoStorageClass")


def test_replicas_and_autoscaling_are_refused_together(namespace: Any) -> None:
    obj = {
        "apiVersion": "pagoda.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": "both"},
        "spec": {"model": {"uri": "bundled://pagoda-tiny"}, "replicas": 1, "autoscaling": {"maxReplicas": 2}},
    }
    said = namespace.kubectl("apply", "-f", "-", stdin=json.dumps(obj), check=False)
    assert "is invalid" in said and "replicas" in said and "autoscaling" in said
