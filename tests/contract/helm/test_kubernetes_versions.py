"""What the chart renders and the operator builds is valid for each Kubernetes that the chart says it runs on."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Any

import kubernetes_validate
import pytest
import yaml

from pagoda_operator.api.allowed import Allowed
from pagoda_operator.api.crd import build_crd
from pagoda_operator.api.profile import Profiles, read_profiles
from pagoda_operator.objects.settings import BuildSettings
from pagoda_operator.plan import plan, world_of

from .conftest import CHART, render_chart

VERSIONS = [f"1.{minor}" for minor in range(29, 38)]
SCHEMALESS = ("CustomResourceDefinition", "ServiceMonitor", "PrometheusRule", "PodMonitor")
"""CRDs are looked at by themselves; the others are the Prometheus operator's."""
MATRIX: list[tuple[str, ...]] = [
    (),
    ("replicas=3", "serviceMonitor.enabled=true", "prometheusRule.enabled=true", "dashboards.enabled=true"),
    ("metricsApi.enabled=false", "crds.enabled=false", "networkPolicy.enabled=false"),
    ("rbac.create=false", "serviceAccount.create=false", "serviceAccount.name=mine"),
    ("watchNamespaces={a,b}",),
    ("openshift=true",),
    ("watchNamespaces={a}", "rbac.clusterRoles=false", "metricsApi.enabled=false"),
    ("global.imageRegistry=r.example:5000", "global.imagePullSecrets={a}", "imagePullSecrets[0].name=b"),
    (f"image.control.digest=sha256:{'0' * 64}", "image.registry=r.example/mirror", "image.server.tag=v9"),
    ("tolerations[0].operator=Exists", "extraEnv[0].name=A", "extraEnv[0].value=b", "podAnnotations.a=b"),
    ("nodeSelector.a=b", "podLabels.team=x", "priorityClassName=high", "serviceAccount.annotations.a=b"),
    (
        "profiles.h100.resources.memory=64Gi",
        "models.defaults.monitoring.labels.release=p",
        "models.allowed.env={NCCL_*}",
        "models.allowed.serviceTypes={LoadBalancer}",
    ),
]
PROFILE = {
    "scheduling": {"runtimeClassName": "nvidia", "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}]},
    "download": {"httpsProxy": "http://proxy.example:3128", "caBundle": {"configMapName": "ca"}},
}
VOLUMES: list[dict[str, Any]] = [
    {"name": "conf", "configMap": {"name": "conf", "items": [{"key": "a", "path": "b"}]}},
    {"name": "keys", "secret": {"secretName": "keys", "optional": True}},
    {"name": "data", "persistentVolumeClaim": {"claimName": "data", "readOnly": True}},
    {"name": "space", "emptyDir": {"sizeLimit": "1Gi", "medium": "Memory"}},
    {"name": "both", "projected": {"sources": [{"configMap": {"name": "a"}}, {"secret": {"name": "b"}}]}},
]
CLAIMS = {"resources": {"claims": [{"name": "gpu", "resourceClaimTemplateName": "h100", "request": "gpu"}]}}
MODELS: dict[str, dict[str, Any]] = {
    "bundled": {"model": {"uri": "bundled://pagoda-tiny"}},
    "large": {
        "autoscaling": {"maxReplicas": 3, "tokensPerSecond": 100},
        "engine": {"tensorParallel": 2},
        "model": {"uri": "hf://a/b", "cache": {"pvc": {"size": "10Gi"}}},
        "auth": {"apiKeysSecretRef": {"name": "keys"}},
    },
    "slice": {"resources": {"gpuResource": "nvidia.com/mig-3g.40gb"}},
    "everything": {
        "profile": "h100",
        "image": {"server": f"r.example/s@sha256:{'0' * 64}", "pullPolicy": "Always", "pullSecrets": [{"name": "own"}]},
        "pod": {
            "labels": {"team": "search"},
            "annotations": {"a/b": "c"},
            "env": [
                {"name": "A", "value": "1"},
                {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
                {"name": "C", "valueFrom": {"configMapKeyRef": {"name": "s", "key": "k"}}},
                {"name": "D", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            ],
            "envFrom": [{"prefix": "P_", "configMapRef": {"name": "c"}}, {"secretRef": {"name": "s"}}],
            "serviceAccountName": "reader",
            "volumes": VOLUMES,
            "volumeMounts": [{"name": "conf", "mountPath": "/mnt/conf", "subPath": "b", "readOnly": True}],
            "startupSeconds": 300,
        },
        "resources": {"sharedMemory": "8Gi", "ephemeralStorage": "20Gi"},
        "rollout": {"progressDeadlineSeconds": 7200},
        "service": {
            "type": "LoadBalancer",
            "annotations": {"a/b": "c"},
            "loadBalancerClass": "a/b",
            "loadBalancerSourceRanges": ["192.0.2.0/24"],
        },
        "scheduling": {"schedulerName": "volcano"},
        "monitoring": {"labels": {"release": "p"}, "interval": "30s"},
        "networkPolicy": {"egressPorts": [3128]},
    },
    "claims": CLAIMS,
}
FIRST_WITH_CLAIMS = "1.31"
"""Before, a pod named its ResourceClaimTemplate in another field, of an alpha that is gone."""


@cache
def rendered(settings: tuple[str, ...]) -> tuple[dict[str, Any], ...]:
    return tuple(render_chart(*settings))


def build_children(spec: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    lists = dict.fromkeys(Allowed.model_fields, ["*"]) | {"service_types": ["LoadBalancer"]}
    everything = Allowed.model_validate(lists)
    resource = {
        "apiVersion": "pagoda.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": "m", "namespace": "team", "uid": "u", "generation": 1},
        "spec": {"model": {"uri": "hf://a/b"}, **spec},
    }
    kinds = frozenset({"monitoring.coreos.com/PodMonitor", "monitoring.coreos.com/PrometheusRule"})
    known = Profiles(named=read_profiles({"h100": PROFILE}))
    world = world_of(resource, allowed=everything, profiles=known, kinds=kinds)
    objects = plan(world, datetime(2026, 1, 2, tzinfo=UTC), BuildSettings("control:1", "server:1")).objects
    assert {"Deployment", "Service", "NetworkPolicy"} <= {item["kind"] for item in objects}, world.parse_error
    return objects


def test_the_versions_are_all_that_the_chart_runs_on_and_the_schemas_know() -> None:
    lowest = yaml.safe_load((CHART / "Chart.yaml").read_text())["kubeVersion"]
    assert lowest == f">={VERSIONS[0]}.0-0"
    assert VERSIONS[-1] == ".".join(kubernetes_validate.latest_version().split(".")[:2])


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("settings", MATRIX, ids=",".join)
def test_what_the_chart_renders_is_valid(version: str, settings: tuple[str, ...]) -> None:
    for item in rendered(settings):
        if item["kind"] not in SCHEMALESS:
            kubernetes_validate.validate(item, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_crd_is_valid_and_helm_takes_the_version(version: str, helm: Callable[..., Any]) -> None:
    kubernetes_validate.validate(build_crd(), version, strict=True)
    assert helm("template", "rel", str(CHART), "--kube-version", f"v{version}.0").returncode == 0


@pytest.mark.parametrize(
    ("version", "name"),
    [(version, name) for version in VERSIONS for name in MODELS if name != "claims" or version >= FIRST_WITH_CLAIMS],
)
def test_the_children_of_a_model_are_valid(version: str, name: str) -> None:
    for item in build_children(MODELS[name]):
        if item["kind"] not in SCHEMALESS:
            kubernetes_validate.validate(item, version, strict=True)


def test_an_older_kubernetes_is_refused(helm: Callable[..., Any]) -> None:
    assert "incompatible" in helm("template", "rel", str(CHART), "--kube-version", "v1.28.0").stderr
