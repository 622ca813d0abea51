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
    namespace.apply("claimless", model={"uri": "hf://org/weights", "cache": {"pvc": {"size": "1Gi"}}})
    assert namespace.wait_reason("claimless", "NoStorageClass")


def test_a_model_that_does_not_exist_while_the_old_one_serves(namespace: Any) -> None:
    namespace.apply("moved")
    namespace.wait_ready("moved")
    old = [pod["metadata"]["uid"] for pod in namespace.pods("moved")]
    namespace.apply("moved", model={"uri": "bundled://no-such-model"})
    assert "bundled://no-such-model" in namespace.wait_reason("moved", "ModelNotFound")
    serving = [pod["metadata"]["uid"] for pod in namespace.pods("moved")]
    assert set(old) <= set(serving)
    namespace.apply("moved")
    namespace.wait_ready("moved")
    assert [pod["metadata"]["uid"] for pod in namespace.pods("moved")] == old, "a revert restarts no pod"


def test_too_little_memory(namespace: Any) -> None:
    namespace.apply("small", resources={"cpu": "100m", "memory": "100Mi"})
    assert "100Mi" in namespace.wait_reason("small", "OutOfMemory")


def test_a_server_that_cannot_start(namespace: Any) -> None:
    namespace.apply("long", engine={"maxModelLen": 1000000})
    assert "max_model_len" in namespace.wait_reason("long", "CrashLooping")


def test_a_secret_that_does_not_exist(namespace: Any) -> None:
    namespace.apply("keyless", auth={"apiKeysSecretRef": {"name": "no-such-keys"}})
    assert "no-such-keys" in namespace.wait_reason("keyless", "SecretNotFound")


def test_a_quota_that_is_used_up(namespace: Any) -> None:
    namespace.kubectl("create", "quota", "none", "--hard=pods=0")
    namespace.apply("over")
    assert "quota" in namespace.wait_reason("over", "PodsNotCreated")


def test_a_name_that_is_taken(namespace: Any) -> None:
    namespace.kubectl("create", "service", "clusterip", "taken", "--tcp=80")
    namespace.apply("taken")
    assert "Service taken" in namespace.wait_reason("taken", "NameTaken")


def test_replicas_and_autoscaling_are_refused_together(namespace: Any) -> None:
    obj = {
        "apiVersion": "pagoda.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": "both"},
        "spec": {"model": {"uri": "bundled://pagoda-tiny"}, "replicas": 1, "autoscaling": {"maxReplicas": 2}},
    }
    said = namespace.kubectl("apply", "-f", "-", stdin=json.dumps(obj), check=False)
    assert "is invalid" in said and "replicas" in said and "autoscaling" in said
