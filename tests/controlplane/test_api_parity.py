"""The API server (schema and CEL) and pydantic accept and refuse the same resources, for the same reasons."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from pagoda_cli.local.spec_file import SpecFileError, parse_spec
from pagoda_operator.api import ModelDeployment
from pagoda_operator.api.rules import RULES

from .plane import ROOT, ControlPlane

pytestmark = pytest.mark.controlplane
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
IN = {"key": "gpu", "operator": "In", "values": ["h100"]}
SPREAD = {"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "ScheduleAnyway"}
POLICY = {"type": "Pods", "value": 4, "periodSeconds": 60}
DIGEST = f"sha256:{'a' * 64}"
SOURCES: list[dict[str, Any]] = [
    {"configMap": {"name": "a"}},
    {"secret": {"name": "b", "items": [{"key": "k", "path": "p/q"}]}},
]
VOLUMES: list[dict[str, Any]] = [
    {"name": "conf", "configMap": {"name": "conf", "optional": True}},
    {"name": "keys", "secret": {"secretName": "keys"}},
    {"name": "data", "persistentVolumeClaim": {"claimName": "data", "readOnly": True}},
    {"name": "space", "emptyDir": {"sizeLimit": "1Gi"}},
    {"name": "both", "projected": {"sources": SOURCES}},
]
BAD_SOURCES: list[dict[str, Any]] = [
    {},
    {"hostPath": {"path": "/"}},
    {"csi": {"driver": "x"}},
    {"emptyDir": {}},
    {"emptyDir": {"sizeLimit": "1Gi"}, "configMap": {"name": "a"}},
    {"projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}},
    {"projected": {"sources": [{}]}},
    {"configMap": {"name": "a", "items": [{"key": "k", "path": "../x"}]}},
]
EVERYTHING: dict[str, Any] = {
    "profile": "h100",
    "engine": {"nodes": 1},
    "image": {
        "server": f"registry.example.com:5000/team/pagoda-server@{DIGEST}",
        "pullPolicy": "Always",
        "pullSecrets": [{"name": "pull"}],
    },
    "pod": {
        "labels": {"team": "search", "example.com/cost": "a"},
        "annotations": {"example.com/note": "any text, with spaces"},
        "env": [
            {"name": "NCCL_DEBUG", "value": "INFO"},
            {"name": "EMPTY"},
            {"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
            {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k", "optional": True}}},
            {"name": "C", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        ],
        "envFrom": [{"secretRef": {"name": "s"}, "prefix": "P_"}, {"configMapRef": {"name": "c"}}],
        "serviceAccountName": "reader",
        "volumes": VOLUMES,
        "volumeMounts": [
            {"name": "conf", "mountPath": "/mnt/conf", "readOnly": True},
            {"name": "space", "mountPath": "/mnt/space", "subPath": "a/b"},
        ],
        "startupSeconds": 300,
    },
    "resources": {
        "claims": [
            {"name": "gpu", "resourceClaimTemplateName": "h100", "request": "gpu"},
            {"name": "nic", "resourceClaimName": "shared"},
        ],
        "sharedMemory": "8Gi",
        "ephemeralStorage": "20Gi",
    },
    "rollout": {"progressDeadlineSeconds": 7200},
    "service": {
        "type": "LoadBalancer",
        "annotations": {"example.com/internal": "true"},
        "loadBalancerClass": "example.com/nlb",
        "loadBalancerSourceRanges": ["192.0.2.0/24"],
    },
    "scheduling": {"schedulerName": "volcano"},
    "monitoring": {"labels": {"release": "kube-prometheus-stack"}, "interval": "30s"},
    "networkPolicy": {"egressPorts": [3128, 8443]},
}
GOOD: list[dict[str, Any]] = [
    {},
    {"replicas": 3},
    {"replicas": 0},
    {"autoscaling": {"maxReplicas": 3}},
    {"autoscaling": {"minReplicas": 2, "maxReplicas": 2, "targetUtilization": 0.5, "tokensPerSecond": 100}},
    {"model": {"uri": "hf://Qwen/Qwen3-0.6B@main", "cache": {"pvc": {"size": "10Gi"}}}},
    {"model": {"uri": "hf://Qwen/Qwen3-0.6B", "cache": {"existingClaim": "weights"}}},
    {"model": {"uri": "pvc://claim/path/to"}},
    {"model": {"uri": "bundled://pagoda-tiny", "name": "tiny"}},
    {"engine": {"maxModelLen": 512, "dtype": "float32", "tensorParallel": 1, "prefixCaching": False}},
    {"engine": {"quantization": "none", "kvCacheDtype": "auto"}},
    {"engine": {"quantization": "fp8", "kvCacheDtype": "fp8"}},
    {"engine": {"tensorParallel": 2}},
    {"engine": {"deterministic": True}, "resources": {"gpus": 1}},
    {"engine": {"tensorParallel": 4}, "resources": {"gpus": 4}},
    {"resources": {"gpus": 1, "cpu": "2", "memory": "4Gi"}},
    {"resources": {"gpus": 0}},
    {"queue": {"maxQueued": 10, "maxQueuedTokens": 1000, "maxWaitSeconds": 5}},
    {"ingress": {"host": "llm.example.com", "className": "nginx"}},
    {"auth": {"apiKeysSecretRef": {"name": "keys"}}},
    {"monitoring": {"objectives": {"timeToFirstTokenSeconds": 2, "interTokenLatencySeconds": 0.1, "share": 0.95}}},
    {"monitoring": {"objectives": {"timeToFirstTokenSeconds": 7.5, "availability": 0.999}}},
    {"monitoring": {"objectives": {}}},
    {"rollout": {"maxSurge": "25%", "maxUnavailable": 0}},
    {"rollout": {"maxSurge": 0, "maxUnavailable": "50%", "upgradePolicy": "Immediately"}},
    {"ingress": {"host": "a-1.b.example", "path": "/.well-known/x/"}},
    {"scheduling": {"nodeSelector": {"example.com/pool": "gpu", "zone": "", "A_b.c": "x.y_z-1"}}},
    {"scheduling": {"tolerations": [{"operator": "Exists"}, {"key": "a/b", "value": "c", "effect": "NoSchedule"}]}},
    {"scheduling": {"tolerations": [{"key": "k", "effect": "NoExecute", "tolerationSeconds": 0}]}},
    {"scheduling": {"topologySpread": [SPREAD, {**SPREAD, "whenUnsatisfiable": "DoNotSchedule", "minDomains": 2}]}},
    {"scheduling": {"affinity": {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [{"matchExpressions": [IN]}]}}}}},
    {"scheduling": {"affinity": {"podAntiAffinity": {REQUIRED: [{"topologyKey": "zone", "labelSelector": {}}]}}}},
    {"autoscaling": {"maxReplicas": 3, "behavior": {"scaleUp": {"policies": [POLICY], "selectPolicy": "Max"}}}},
    EVERYTHING,
    {"batch": {"existingClaim": "files", "maxFileSize": "1Gi", "maxFiles": 10, "maxRequests": 100, "share": 0.5}},
    {"batch": {"s3": {"uri": "s3://files/a/b", "endpoint": "https://minio:9000", "region": "eu-1", "secretName": "k"}}},
    {"model": {"uri": "hf://a/b", "cache": {"existingClaim": "weights"}}, "batch": {}},
    {"model": {"uri": "hf://a/b", "cache": {"pvc": {"size": "1Gi"}}}, "batch": {"maxTotalSize": "2G"}},
    {"engine": {"tensorParallel": 2}, "resources": {"claims": [{"name": "a", "resourceClaimTemplateName": "b"}]}},
    {"model": {"uri": "hf://a/b"}, "resources": {"gpuResource": "nvidia.com/mig-3g.40gb"}},
    {"service": {"type": "NodePort"}},
]
BAD: list[dict[str, Any]] = [
    {"replicas": 1, "autoscaling": {"maxReplicas": 2}},
    {"replicas": -1},
    {"monitoring": {"objectives": {"timeToFirstTokenSeconds": 2.2}}},
    {"monitoring": {"objectives": {"interTokenLatencySeconds": 0.06}}},
    {"monitoring": {"objectives": {"share": 0.5}}},
    {"monitoring": {"objectives": {"availability": 1}}},
    {"replicas": "two"},
    {"cost": {"gpuHourPrice": 2}},
    {"model": {}},
    {"model": {"uri": "s3://bucket/key"}},
    {"model": {"uri": "oci://image"}},
    {"model": {"uri": "Qwen/Qwen3-0.6B"}},
    {"model": {"uri": "hf://only-a-name"}},
    {"model": {"uri": "pvc://claim/../etc"}},
    {"model": {"uri": "bundled://x", "cache": {"existingClaim": "c"}}},
    {"model": {"uri": "hf://a/b", "cache": {"pvc": {"size": "1Gi"}, "existingClaim": "c"}}},
    {"model": {"uri": "hf://a/b", "adapters": [{"name": "x", "uri": "hf://a/c"}]}},
    {"engine": {"quantization": "awq"}},
    {"engine": {"quantization": "gptq"}},
    {"engine": {"quantization": "int8"}},
    {"engine": {"kvCacheDtype": "int8"}},
    {"engine": {"tensorParallel": 2}, "resources": {"gpus": 1}},
    {"engine": {"deterministic": True, "quantization": "fp8"}},
    {"engine": {"deterministic": True, "dtype": "float32"}},
    {"engine": {"deterministic": True, "tensorParallel": 2}},
    {"engine": {"deterministic": True}, "resources": {"gpus": 0}},
    {"engine": {"tensorParallel": 2}, "resources": {"gpus": 0}},
    {"engine": {"dtype": "int3"}},
    {"engine": {"maxModelLen": 0}},
    {"engine": {"gpuMemoryFraction": 1.5}},
    {"resources": {"gpus": 2}},
    {"resources": {"profile": "nvidia-l4:1"}},
    {"autoscaling": {}},
    {"autoscaling": {"minReplicas": 3, "maxReplicas": 2}},
    {"autoscaling": {"minReplicas": 0, "maxReplicas": 2}},
    {"autoscaling": {"maxReplicas": 2, "provider": "keda"}},
    {"autoscaling": {"maxReplicas": 2, "targetUtilization": 2}},
    {"autoscaling": {"maxReplicas": 2, "scaleToZeroAfterSeconds": 60}},
    {"queue": {"fairness": "key"}},
    {"batch": {}},
    {"batch": {"existingClaim": "a", "s3": {"uri": "s3://bucket/x"}}},
    *({"batch": {"s3": {"uri": uri}}} for uri in ("gs://bucket/x", "s3://", "s3://bucket/../x", "s3://bucket//x")),
    {"batch": {"s3": {"uri": "s3://bucket/x", "endpoint": "minio:9000"}}},
    *({"batch": {"existingClaim": "a", "maxFileSize": size}} for size in ("0", "1.5Gi", "much")),
    *({"batch": {"existingClaim": "a", "share": share}} for share in (0, 0.8)),
    {"batch": {"existingClaim": "a", "maxRequests": 0}},
    {"queue": {"maxQueued": -1}},
    {"rollout": {"maxSurge": 0, "maxUnavailable": 0}},
    {"rollout": {"maxSurge": "0%", "maxUnavailable": 0}},
    {"unknown": 1},
    {"model": {"uri": "bundled://pagoda-tiny", "url": "x"}},
    *({"ingress": {"host": host}} for host in ("a..b", "-a.b", "a.b-", "1.2.3.4", "*.a.b", "A.b", "a." + "b" * 64)),
    *({"ingress": {"host": "a.b", "path": path}} for path in ("//", "/a//b", "/a/../b", "/.", "v1")),
    {"ingress": {"host": "a.b", "className": "a..b"}},
    *({"scheduling": {"nodeSelector": labels}} for labels in ({"a b": "c"}, {"a": "b c"}, {"/a": "b"}, {"a/b/c": "d"})),
    {"scheduling": {"nodeSelector": {"a": "b" * 64}}},
    {"scheduling": {"tolerations": [{}]}},
    {"scheduling": {"tolerations": [{"key": "a b"}]}},
    {"scheduling": {"tolerations": [{"key": "a", "operator": "Exists", "value": "b"}]}},
    {"scheduling": {"tolerations": [{"key": "a", "effect": "NoSchedule", "tolerationSeconds": 3}]}},
    {"scheduling": {"priorityClassName": "a b"}},
    {"scheduling": {"topologySpread": [{**SPREAD, "maxSkew": 0}]}},
    {"scheduling": {"topologySpread": [{"maxSkew": 1, "topologyKey": "zone"}]}},
    {"scheduling": {"topologySpread": [{**SPREAD, "minDomains": 2}]}},
    {"scheduling": {"affinity": {"nodeAffinty": {}}}},
    {"scheduling": {"affinity": {"nodeAffinity": []}}},
    {"scheduling": {"affinity": {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": []}}}}},
    {"autoscaling": {"maxReplicas": 3, "behavior": {"scaleUp": {"policies": [{**POLICY, "value": 0}]}}}},
    {"model": {"uri": "hf://a/b", "tokenSecretRef": {"name": "t", "key": ".."}}},
    {"profile": "H 100"},
    {"engine": {"nodes": 2}},
    {"engine": {"tensorParallel": 2}, "resources": {"gpuResource": "nvidia.com/mig-3g.40gb"}},
    *({"image": {"server": image}} for image in ("", "-x", "a b", "a@sha256:abc", "a/b@md5:" + "0" * 64)),
    {"image": {"pullPolicy": "Sometimes"}},
    {"image": {"pullSecrets": [{"name": "a"}, {"name": "a"}]}},
    *(
        {"pod": {kind: {key: "x"}}}
        for kind in ("labels", "annotations")
        for key in (
            "a b",
            "pagoda.dev/x",
            "a.pagoda.dev/x",
            "app.kubernetes.io/name",
            "x.k8s.io/y",
            "pod-template-hash",
        )
    ),
    {"pod": {"labels": {"a": "b c"}}},
    *({"pod": {"env": [{"name": name}]}} for name in ("HF_HOME", "HF_TOKEN", "PAGODA_X", "a-b", "1A", "A=B", "")),
    {"pod": {"env": [{"name": "A"}, {"name": "A"}]}},
    {"pod": {"env": [{"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]}},
    {"pod": {"env": [{"name": "A", "valueFrom": {}}]}},
    {"pod": {"env": [{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}}]}},
    {"pod": {"envFrom": [{"prefix": "A"}]}},
    {"pod": {"envFrom": [{"secretRef": {"name": "a"}, "configMapRef": {"name": "a"}}]}},
    *({"pod": {"volumes": [{"name": "a", **source}]}} for source in BAD_SOURCES),
    {"pod": {"volumes": [{"name": "models", "emptyDir": {"sizeLimit": "1Gi"}}]}},
    {"pod": {"volumes": [{"name": "a", "emptyDir": {"sizeLimit": "1Gi"}}] * 2}},
    *(
        {"pod": {"volumeMounts": [{"name": "a", "mountPath": path}]}}
        for path in (
            "/mnt",
            "/usr/lib",
            "/models",
            "/run/pagoda",
            "/mnt/../etc",
            "/mnt/./a",
            "mnt/a",
            "/mnt/a/",
            "/mnt//a",
        )
    ),
    {"pod": {"volumeMounts": [{"name": "a", "mountPath": "/mnt/a", "subPath": "../x"}]}},
    {"pod": {"volumeMounts": [{"name": "a", "mountPath": "/mnt/a"}, {"name": "b", "mountPath": "/mnt/a"}]}},
    {"pod": {"serviceAccountName": "a b"}},
    {"pod": {"hostNetwork": True}},
    {"pod": {"startupSeconds": 1}},
    {"resources": {"claims": [{"name": "a"}]}},
    {"resources": {"claims": [{"name": "a", "resourceClaimName": "b", "resourceClaimTemplateName": "c"}]}},
    {"resources": {"claims": [{"name": "a", "resourceClaimName": "b"}] * 2}},
    {"resources": {"sharedMemory": "much"}},
    {"service": {"type": "ExternalName"}},
    {"service": {"loadBalancerClass": "a"}},
    {"service": {"type": "NodePort", "loadBalancerSourceRanges": ["192.0.2.0/24"]}},
    {"service": {"type": "LoadBalancer", "loadBalancerSourceRanges": ["everybody"]}},
    {"service": {"annotations": {"pagoda.dev/applied-hash": "x"}}},
    {"monitoring": {"labels": {"app.kubernetes.io/managed-by": "x"}}},
    *({"monitoring": {"interval": interval}} for interval in ("0s", "soon", "30")),
    *({"networkPolicy": {"egressPorts": [port]}} for port in (0, 65536, "http")),
    {"download": {"endpoint": "https://hub.example"}},
]


def resource(spec: dict[str, Any], name: str = "m") -> dict[str, Any]:
    spec = {"model": {"uri": "bundled://pagoda-tiny"}, **spec}
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "pagoda.dev/v1alpha1", "kind": "ModelDeployment", "metadata": metadata, "spec": spec}


def refusal_by_server(plane: ControlPlane, manifest: str) -> str | None:
    command = [plane.enter, "kubectl", "apply", "--dry-run=server", "--server-side", "--validate=strict", "-f", "-"]
    done = subprocess.run(command, input=manifest, capture_output=True, text=True, timeout=60)
    return done.stderr if done.returncode else None


def refusal_by_pydantic(found: dict[str, Any]) -> str | None:
    try:
        ModelDeployment.model_validate(found)
    except ValidationError as error:
        return str(error)
    return None


@pytest.mark.parametrize("spec", GOOD, ids=json.dumps)
def test_both_accept(control_plane: ControlPlane, spec: dict[str, Any]) -> None:
    assert refusal_by_pydantic(resource(spec)) is None
    assert refusal_by_server(control_plane, json.dumps(resource(spec))) is None


@pytest.mark.parametrize("spec", BAD, ids=json.dumps)
def test_both_refuse_with_the_same_rules(control_plane: ControlPlane, spec: dict[str, Any]) -> None:
    by_pydantic = refusal_by_pydantic(resource(spec))
    by_server = refusal_by_server(control_plane, json.dumps(resource(spec)))
    assert by_pydantic is not None and by_server is not None
    broken = [rule.message for rule in RULES if rule.message in by_pydantic]
    assert [message for message in broken if message not in by_server] == []


WRONG_TYPES: list[dict[str, Any]] = [
    *({"replicas": value} for value in ("2", True, 2.5, [2], {"is": 2}, None)),
    {"engine": []},
    {"engine": "fast"},
    *({"engine": {"prefixCaching": value}} for value in ("true", 1, "yes")),
    {"engine": None},
    {"engine": {"maxModelLen": None}},
    {"scheduling": {"nodeSelector": None}},
    {"scheduling": {"nodeSelector": {"a": None}}},
    *({"engine": {"gpuMemoryFraction": value}} for value in ("0.5", True)),
    *({"engine": {"dtype": value}} for value in (1, True, "AUTO")),
    *({"resources": {"cpu": value}} for value in (0.5, True, ["1"], "1 ")),
    *({"rollout": {"maxSurge": value}} for value in (True, 1.5, "1", "101%", -1)),
    *({"model": {"uri": value}} for value in (1, True, ["hf://a/b"])),
    {"model": {"uri": "bundled://pagoda-tiny", "name": 5}},
    {"ingress": {"host": "a.b", "annotations": {"a": 1}}},
    {"ingress": {"host": "a.b", "annotations": []}},
    {"scheduling": {"nodeSelector": {"a": True}}},
    {"scheduling": {"tolerations": {"operator": "Exists"}}},
    {"scheduling": {"topologySpread": [{**SPREAD, "maxSkew": "1"}]}},
    {"scheduling": {"affinity": {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": "all"}}}}},
    {"autoscaling": {"maxReplicas": "3"}},
    {"autoscaling": {"maxReplicas": 3, "behavior": {"scaleUp": {"policies": [{**POLICY, "value": "4"}]}}}},
    {"autoscaling": {"maxReplicas": 3, "behavior": {"scaleUp": {"tolerance": 0.5}}}},
]
UNUSUAL: list[dict[str, Any]] = [
    {"engine": {"dtype": None, "prefixCaching": None}},
    {"queue": {"maxQueued": None}},
    {"replicas": 2.0},
    {"engine": {"gpuMemoryFraction": 0.5}},
]
WRONG_METADATA: list[dict[str, Any]] = [
    {"name": 5},
    {"name": "m", "lables": {}},
    {"name": "m", "labels": {"a": 1}},
    {"name": "m", "labels": {"a b": "c"}},
    {"name": "m", "labels": {"a": "b c"}},
    {"name": "m", "labels": {"a": "b" * 64}},
    {"name": "m", "labels": {"a" * 64: "b"}},
    {"name": "m", "annotations": {"a": True}},
    {"name": "m", "annotations": {"a/b/c": "d"}},
    {"name": "m", "annotations": {"a": "b" * (1 << 18)}},
    {"name": "m", "annotations": []},
]


def refusal_by_run(text: str) -> str | None:
    try:
        parse_spec(text, "m.yaml")
    except SpecFileError as error:
        return str(error)
    return None


@pytest.mark.parametrize("spec", [*GOOD, *UNUSUAL], ids=json.dumps)
def test_pagoda_run_accepts_what_the_server_accepts(control_plane: ControlPlane, spec: dict[str, Any]) -> None:
    text = yaml.safe_dump(resource(spec))
    assert (refusal_by_run(text), refusal_by_server(control_plane, text)) == (None, None)


@pytest.mark.parametrize("spec", [*BAD, *WRONG_TYPES], ids=json.dumps)
def test_pagoda_run_refuses_what_the_server_refuses(control_plane: ControlPlane, spec: dict[str, Any]) -> None:
    text = yaml.safe_dump(resource(spec))
    assert refusal_by_run(text) is not None and refusal_by_server(control_plane, text) is not None


@pytest.mark.parametrize("metadata", WRONG_METADATA, ids=lambda metadata: json.dumps(metadata)[:60])
def test_pagoda_run_refuses_metadata_that_the_server_refuses(
    control_plane: ControlPlane, metadata: dict[str, Any]
) -> None:
    text = yaml.safe_dump(resource({}) | {"metadata": metadata})
    assert refusal_by_run(text) is not None and refusal_by_server(control_plane, text) is not None


@pytest.mark.parametrize("name", ["m" * 41, "1m", "a.b"])
def test_both_refuse_a_name_that_cannot_name_children(control_plane: ControlPlane, name: str) -> None:
    assert refusal_by_pydantic(resource({}, name)) is not None
    assert refusal_by_server(control_plane, json.dumps(resource({}, name))) is not None


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda path: path.name)
def test_every_example_is_accepted_with_strict_validation(control_plane: ControlPlane, path: Path) -> None:
    assert list(yaml.safe_load_all(path.read_text()))
    assert refusal_by_server(control_plane, path.read_text()) is None


def test_explain_reads_like_a_manual(control_plane: ControlPlane) -> None:
    text = control_plane.kubectl("explain", "modeldeployments.spec", "--recursive=false")
    assert "only model.uri is needed" in text.lower()
    assert text.count("<no description>") == 0


CLAIM = {"size": "10Gi", "storageClassName": "fast", "accessMode": "ReadWriteOnce"}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"storageClassName": "slow"}, "storageClassName cannot change"),
        ({"storageClassName": None}, "storageClassName cannot change"),
        ({"accessMode": "ReadWriteMany"}, "accessMode cannot change"),
        ({"size": "9.5Gi"}, "size may only grow"),
        ({"size": "10240Mi"}, None),
        ({"size": "11Gi"}, None),
    ],
)
def test_a_claim_keeps_what_cannot_change(control_plane: ControlPlane, changed: dict[str, Any], said: str) -> None:
    def cached(claim: dict[str, Any]) -> dict[str, Any]:
        given = {key: value for key, value in claim.items() if value is not None}
        return resource({"model": {"uri": "hf://a/b", "cache": {"pvc": given}}}, "claims")

    control_plane.apply(cached(CLAIM))
    refusal = refusal_by_server(control_plane, json.dumps(cached({**CLAIM, **changed})))
    assert refusal is None if said is None else said in str(refusal)
    control_plane.kubectl("delete", "mdep", "claims")
