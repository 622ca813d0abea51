"""Neither a newer operator, nor an older one, nor a newer CRD replaces a pod that serves."""

import copy
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from pagoda_operator.kube.objects import REVISION_INPUTS
from pagoda_operator.objects.settings import BuildSettings
from pagoda_operator.plan import plan, world_of
from pagoda_operator.plan.revision import capacity_key

NOW = datetime(2026, 1, 2, tzinfo=UTC)
OLD, NEW = BuildSettings("control:1", "server:1"), BuildSettings("control:2", "server:2")
TERM = {"matchExpressions": [{"key": "gpu", "operator": "In", "values": ["h100"]}]}
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
SMALL: dict[str, Any] = {"model": {"uri": "hf://a/b", "tokenSecretRef": {"name": "t", "key": "token"}}}
LARGE: dict[str, Any] = {
    "model": {"uri": "hf://a/b", "cache": {"pvc": {"size": "5Gi", "accessMode": "ReadWriteOnce"}}},
    "engine": {
        "dtype": "auto",
        "quantization": "none",
        "kvCacheDtype": "auto",
        "tensorParallel": 1,
        "prefixCaching": True,
        "deterministic": False,
        "maxNumSeqs": 8,
    },
    "resources": {"gpuResource": "nvidia.com/gpu", "memory": "4Gi"},
    "queue": {"maxQueued": 256, "maxQueuedTokens": 1000000, "maxWaitSeconds": 30, "fairness": "none"},
    "autoscaling": {
        "minReplicas": 1,
        "maxReplicas": 3,
        "targetUtilization": 0.7,
        "backlogDrainSeconds": 15,
        "provider": "auto",
    },
    "rollout": {"maxSurge": 1, "maxUnavailable": 0, "drainSeconds": 60, "upgradePolicy": "OnChange"},
    "scheduling": {
        "nodeSelector": {"pool": "gpu"},
        "tolerations": [{"operator": "Exists"}],
        "affinity": {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [TERM]}}},
        "topologySpread": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}],
    },
    "auth": {"apiKeysSecretRef": {"name": "keys"}},
}
RELEASE_0_1_0 = [
    (SMALL, "abe725d20719b105a850cbb71b01c7aa1c177b6bb5516b5ba2923b51d601e8bb", "4f69bd82e439"),
    (LARGE, "e3851c233fdb7188c9989cae23a2427434903808df243bc5656451a94064cff3", "a8f33f11f739"),
]
"""Specs as the API server stores them, and the hashes that release 0.1.0 made of them."""


def resource(spec: dict[str, Any], status: dict[str, Any] | None = None) -> dict[str, Any]:
    metadata = {"name": "m", "namespace": "ns", "uid": "u1", "generation": 3}
    return {
        "apiVersion": "pagoda.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": metadata,
        "spec": spec,
        "status": status or {},
    }


def deployment_of(raw: dict[str, Any], settings: BuildSettings, *children: dict[str, Any]) -> dict[str, Any]:
    found = plan(world_of(raw, children=children), NOW, settings).objects
    return next(copy.deepcopy(o) for o in found if o["kind"] == "Deployment")


def image(deployment: dict[str, Any]) -> str:
    return str(deployment["spec"]["template"]["spec"]["containers"][0]["image"])


@pytest.mark.parametrize(("spec", "inputs", "key"), RELEASE_0_1_0)
def test_pods_of_the_last_release_stay(spec: dict[str, Any], inputs: str, key: str) -> None:
    live = deployment_of(resource(spec), OLD)
    template = live["spec"]["template"]
    live["metadata"]["annotations"][REVISION_INPUTS] = json.dumps({"inputs": inputs, "template": template})
    upgraded = deployment_of(resource(spec), NEW, live)
    assert image(upgraded) == "server:1"
    remembered = json.loads(upgraded["metadata"]["annotations"][REVISION_INPUTS])
    assert remembered["inputs"] == inputs, "the last release would keep them too"
    changed = {**spec, "engine": {**spec.get("engine", {}), "maxNumSeqs": 16}}
    assert image(deployment_of(resource(changed), NEW, live)) == "server:2"


def test_pods_of_the_last_release_stay_where_the_api_server_has_dropped_a_field() -> None:
    pruned = copy.deepcopy(LARGE)
    del pruned["queue"]["fairness"], pruned["autoscaling"]["provider"]
    test_pods_of_the_last_release_stay(pruned, *RELEASE_0_1_0[1][1:])


@pytest.mark.parametrize(("spec", "inputs", "key"), RELEASE_0_1_0)
def test_a_capacity_that_the_last_release_measured_holds(spec: dict[str, Any], inputs: str, key: str) -> None:
    before = {"tokensPerSecond": 900.0, "source": "observed", "measuredAt": "2026-01-01T00:00:00Z", "key": key}
    raw = resource(spec, {"capacity": before})
    mdep = world_of(raw).mdep
    assert mdep is not None
    assert plan(world_of(raw), NOW, NEW).status["capacity"] == {**before, "key": capacity_key(mdep)}


def test_a_defaulted_field_of_a_newer_crd_is_ignored() -> None:
    live = deployment_of(resource(LARGE), OLD)
    newer = copy.deepcopy(LARGE)
    newer["engine"]["newField"] = newer["rollout"]["newField"] = "default"
    newer["newBlock"] = {"a": [1]}
    newer["scheduling"]["affinity"]["nodeAffinity"]["newField"] = {}
    seen = world_of(resource(newer), children=[live])
    assert seen.mdep is not None, seen.parse_error
    assert deployment_of(resource(newer), OLD, live) == deployment_of(resource(LARGE), OLD, live)
    assert image(deployment_of(resource(newer), NEW, live)) == "server:1"


def test_a_default_that_the_api_server_writes_is_no_change() -> None:
    live = deployment_of(resource({"model": {"uri": "hf://a/b"}, "engine": {"maxNumSeqs": 8}}), OLD)
    engine = {"maxNumSeqs": 8, "dtype": "auto", "prefixCaching": True, "deterministic": False}
    assert image(deployment_of(resource({"model": {"uri": "hf://a/b"}, "engine": engine}), NEW, live)) == "server:1"
