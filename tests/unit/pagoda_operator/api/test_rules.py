"""A spec that breaks a rule is refused with the fix."""

from typing import Any

import pytest
from pydantic import ValidationError

from pagoda_operator.api import ModelDeployment

HF = {"uri": "hf://Qwen/Qwen3-0.6B"}


def parse(name: str = "m", **spec: Any) -> ModelDeployment:
    body = {"model": HF, **spec}
    return ModelDeployment.model_validate(
        {"apiVersion": "pagoda.dev/v1alpha1", "kind": "ModelDeployment", "metadata": {"name": name}, "spec": body}
    )


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"replicas": 1, "autoscaling": {"maxReplicas": 2}}, "not both"),
        ({"batch": {}}, "set model.cache, batch.existingClaim or batch.s3"),
        ({"batch": {"existingClaim": "c", "s3": {"uri": "s3://bucket/x"}}}, "not both"),
        ({"batch": {"s3": {"uri": "gs://bucket/x"}}}, "s3://"),
        ({"batch": {"s3": {"uri": "s3://bucket/../x"}}}, "s3://"),
        ({"batch": {"existingClaim": "c", "maxFileSize": "1.5Gi"}}, "maxFileSize"),
        ({"batch": {"existingClaim": "c", "share": 1}}, "0.75"),
        ({"autoscaling": {"minReplicas": 3, "maxReplicas": 2}}, "raise maxReplicas"),
        ({"autoscaling": {"minReplicas": 0, "maxReplicas": 2}}, "greater than or equal to 1"),
        ({"autoscaling": {"maxReplicas": 2, "provider": "keda"}}, "Extra inputs"),
        ({"autoscaling": {"maxReplicas": 2, "scaleToZeroAfterSeconds": 60}}, "Extra inputs"),
        ({"autoscaling": {"maxReplicas": 2, "targetUtilization": 0.95}}, "0.9"),
        ({"model": {"uri": "s3://bucket/x"}}, "must be hf://"),
        ({"model": {"uri": "oci://x"}}, "must be hf://"),
        ({"model": {"uri": "nonsense"}}, "must be hf://"),
        ({"model": {"uri": "pvc://claim/../x"}}, "may not have '..'"),
        ({"model": {**HF, "adapters": []}}, "Extra inputs"),
        ({"model": {**HF, "cache": {"pvc": {"size": "1Gi"}, "existingClaim": "c"}}}, "not both"),
        ({"engine": {"quantization": "awq"}}, "'none' or 'fp8'"),
        ({"engine": {"quantization": "gptq"}}, "'none' or 'fp8'"),
        ({"engine": {"kvCacheDtype": "int8"}}, "'auto' or 'fp8'"),
        ({"engine": {"tensorParallel": 2}, "resources": {"gpus": 1}}, "resources.gpus must be engine.tensorParallel"),
        ({"engine": {"tensorParallel": 2}, "resources": {"gpus": 0}}, "set both to the same number"),
        ({"engine": {"deterministic": True, "quantization": "fp8"}}, "engine.deterministic is for 16-bit weights"),
        ({"engine": {"deterministic": True, "dtype": "float32"}}, "engine.deterministic is for 16-bit weights"),
        ({"engine": {"deterministic": True, "tensorParallel": 2}}, "engine.deterministic is for 16-bit weights"),
        ({"engine": {"deterministic": True}, "resources": {"gpus": 0}}, "engine.deterministic is for 16-bit weights"),
        ({"engine": {"speculative": {}}}, "Extra inputs"),
        ({"resources": {"profile": "h100"}}, "Extra inputs"),
        ({"resources": {"gpus": 2}}, "resources.gpus must be engine.tensorParallel"),
        ({"queue": {"fairness": "key"}}, "Extra inputs"),
        ({"queue": {"priorities": []}}, "Extra inputs"),
        ({"ingress": {"host": "a.b", "gateway": {"name": "g"}}}, "Extra inputs"),
        ({"auth": {"apiKeysSecretRef": {"name": "k"}, "limits": []}}, "Extra inputs"),
        ({"tracing": {"endpoint": "x"}}, "should match pattern"),
        ({"tracing": {"samplingRatio": 2}}, "less than or equal to 1"),
        ({"cost": {"gpuHourPrice": 2}}, "Extra inputs"),
        ({"rollout": {"maxSurge": 0, "maxUnavailable": "0%"}}, "may not both be 0"),
        ({"monitoring": {"objectives": {"timeToFirstTokenSeconds": 2.2}}}, "choose one of 0.02, 0.05, 0.1"),
        ({"monitoring": {"objectives": {"interTokenLatencySeconds": 0.06}}}, "choose one of 0.001, 0.002"),
        ({"monitoring": {"objectives": {"share": 0.5}}}, "greater than or equal to 0.9"),
        ({"monitoring": {"objectives": {"availability": 1}}}, "less than or equal to 0.9999"),
        ({"unknownField": 1}, "Extra inputs"),
    ],
)
def test_a_broken_rule_is_refused_with_its_message(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=".*") as refused:
        parse(**spec)
    assert message in str(refused.value)


@pytest.mark.parametrize("name", ["m" * 41, "1m", "a.b"])
def test_a_name_that_cannot_name_children_is_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        parse(name)


def test_the_model_alone_is_enough() -> None:
    mdep = parse()
    assert (mdep.spec.fixed_replicas, mdep.spec.gpus, mdep.served_model_name) == (1, 1, "m")
    assert parse(model={"uri": "bundled://pagoda-tiny"}).spec.gpus == 0


def test_a_divided_model_asks_for_a_gpu_a_rank() -> None:
    assert parse(engine={"tensorParallel": 4}).spec.gpus == 4
    assert parse(engine={"tensorParallel": 2}, resources={"gpus": 2}).spec.gpus == 2
    assert parse(resources={"gpus": 0}).spec.gpus == 0
    assert parse(model={"uri": "bundled://pagoda-tiny"}, engine={"tensorParallel": 2}).spec.gpus == 2
