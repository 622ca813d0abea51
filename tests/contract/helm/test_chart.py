"""The chart: what it renders is valid Kubernetes, least privilege, and true to the files it copies."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

ROOT = Path(__file__).parents[3]
CHART = ROOT / "helm" / "pagoda"
Object = dict[str, Any]
Render = Callable[..., list[Object]]
Helm = Callable[..., subprocess.CompletedProcess[str]]

ALL_ON = (
    "replicas=3",
    "serviceMonitor.enabled=true",
    "serviceMonitor.labels.release=p",
    "prometheusRule.enabled=true",
    "prometheusRule.labels.release=p",
    "dashboards.enabled=true",
    "dashboards.annotations.grafana_folder=Pagoda",
)
MATRIX = [
    (),
    ALL_ON,
    ("metricsApi.enabled=false", "crds.enabled=false"),
    ("rbac.create=false", "serviceAccount.create=false", "serviceAccount.name=mine"),
    ("crds.keep=false", "image.control.tag=v9", "imagePullSecrets[0].name=pull", "nodeSelector.a=b"),
    ("tolerations[0].operator=Exists", "extraEnv[0].name=A", "extraEnv[0].value=b", "podAnnotations.a=b"),
]
CUSTOM_KINDS = ("CustomResourceDefinition", "ServiceMonitor", "PrometheusRule")

BAD_VALUES = [
    *("replcias=2", "replicas=0", "replicas=6", "image.contorl=x", "image.server.pullPolicy=Always"),
    *("image.control.pullPolicy=Sometimes", "metricsApi.enable=true", "serviceMonitor.interval=soon"),
    *("prometheusRule.lables.a=b", "dashboards.folder=x", "resources.limit=x", "crds.keep=maybe"),
    *("ingress.allowedHost={a}", "models.sizeLimit=much", "networkPolicy.enable=true"),
]


def find(objects: list[Object], kind: str, name: str = "") -> list[Object]:
    return [item for item in objects if item["kind"] == kind and name in item["metadata"]["name"]]


def test_lint_has_no_complaint(helm: Helm) -> None:
    result = helm("lint", "--strict", str(CHART))
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("settings", MATRIX)
def test_rendered_objects_are_valid(render: Render, settings: tuple[str, ...]) -> None:
    for item in render(*settings):
        if item["kind"] not in CUSTOM_KINDS:
            kubernetes_validate.validate(item, "1.37", strict=True)


@pytest.mark.parametrize("setting", BAD_VALUES)
def test_unknown_or_bad_value_is_refused(helm: Helm, setting: str) -> None:
    result = helm("template", "rel", str(CHART), "--set", setting)
    assert result.returncode != 0
    assert setting.split("=")[0].split(".")[-1] in result.stderr


def test_no_rule_has_a_wildcard_and_secrets_are_named(render: Render) -> None:
    rules = [rule for item in render(*ALL_ON) if item["kind"] in ("Role", "ClusterRole") for rule in item["rules"]]
    assert rules
    for rule in rules:
        assert not any("*" in word for values in rule.values() for word in values), rule
        if "secrets" in rule["resources"]:
            assert rule["verbs"] == ["create"] or rule["resourceNames"] == ["rel-pagoda-metrics-api-metrics-tls"]


def test_no_cluster_wide_rule_reads_secrets(render: Render) -> None:
    for role in find(render(*ALL_ON), "ClusterRole"):
        assert all("secrets" not in rule["resources"] for rule in role["rules"])


def test_every_rule_of_the_operator_says_why() -> None:
    lines = (CHART / "templates" / "rbac.yaml").read_text().splitlines()
    for before, line in zip(lines, lines[1:], strict=False):
        if line.lstrip().startswith("- apiGroups:"):
            assert before.lstrip().startswith("# "), line


def test_copied_crds_are_those_of_the_tree() -> None:
    copies = {path.name: path.read_text() for path in (CHART / "files" / "crds").glob("*.yaml")}
    assert copies
    assert copies == {path.name: path.read_text() for path in (ROOT / "crds").glob("*.yaml")}


def test_crds_are_kept_unless_told_otherwise(render: Render) -> None:
    (kept,) = find(render(), "CustomResourceDefinition")
    assert kept["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    (loose,) = find(render("crds.keep=false"), "CustomResourceDefinition")
    assert "helm.sh/resource-policy" not in loose["metadata"].get("annotations", {})
    assert not find(render("crds.enabled=false"), "CustomResourceDefinition")


def test_no_other_api_than_its_metrics_can_be_registered(render: Render) -> None:
    """The operator registers it while it runs; an APIService of the chart would outlive the operator."""
    assert not find(render(), "APIService")
    rules = [rule for role in find(render(), "ClusterRole") for rule in role["rules"]]
    (rule,) = [rule for rule in rules if "apiservices" in rule["resources"]]
    assert rule["resourceNames"] == ["v1beta1.custom.metrics.k8s.io", "v1beta2.custom.metrics.k8s.io"]
    without = [rule for role in find(render("metricsApi.enabled=false"), "ClusterRole") for rule in role["rules"]]
    assert not [rule for rule in without if "apiservices" in rule["resources"]]


def test_disruption_budget_comes_with_the_second_replica(render: Render) -> None:
    assert not find(render(), "PodDisruptionBudget")
    assert find(render("replicas=2"), "PodDisruptionBudget")


def test_operator_pod_meets_the_restricted_standard(render: Render) -> None:
    (deployment,) = find(render(), "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["securityContext"]["allowPrivilegeEscalation"] is False


def test_every_setting_given_to_the_operator_is_one_it_knows(render: Render) -> None:
    from pagoda_operator.settings import build_settings

    (deployment,) = find(render(), "Deployment")
    env = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    literal = {item["name"]: item.get("value", "pagoda-system") for item in env}
    settings = build_settings([], literal)
    assert settings.server_image.startswith("ghcr.io/pagoda-dev/pagoda-server:")
    assert settings.metrics_service == "rel-pagoda-metrics-api"
    known = {f"PAGODA_{name.upper()}" for name in settings.__dataclass_fields__}
    assert {name for name in literal if name.startswith("PAGODA_")} <= known


def test_pull_secrets_reach_the_operator_and_through_it_the_model_pods(render: Render) -> None:
    from pagoda_operator.controller.observe import build_plan_settings
    from pagoda_operator.settings import build_settings

    (deployment,) = find(render("imagePullSecrets[0].name=a", "imagePullSecrets[1].name=b"), "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    assert pod["imagePullSecrets"] == [{"name": "a"}, {"name": "b"}]
    env = {item["name"]: item["value"] for item in pod["containers"][0]["env"] if "value" in item}
    assert build_plan_settings(build_settings([], env)).image_pull_secrets == ("a", "b")


def test_the_values_and_their_schema_name_the_same_things() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())["properties"]
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert set(values) | {"global"} == set(schema)
    for name, value in values.items():
        closed = schema[name].get("additionalProperties") is False
        assert not closed or set(value) == set(schema[name]["properties"]), name


def test_what_the_service_monitor_scrapes_is_a_port_of_the_operator(render: Render) -> None:
    objects = render(*ALL_ON)
    (monitor,) = find(objects, "ServiceMonitor")
    (endpoint,) = monitor["spec"]["endpoints"]
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    (service,) = [item for item in find(objects, "Service") if wanted <= item["metadata"]["labels"].items()]
    (port,) = [port for port in service["spec"]["ports"] if port["name"] == endpoint["port"]]
    (deployment,) = find(objects, "Deployment")
    ports = deployment["spec"]["template"]["spec"]["containers"][0]["ports"]
    assert port["targetPort"] in [port["name"] for port in ports]
    assert endpoint["honorLabels"] is True, "the series' namespace is the model's, not the operator's"


def test_alerts_about_the_operator_name_series_it_shows(render: Render) -> None:
    from pagoda_operator.metrics import Metrics

    families = list(Metrics().registry.collect())
    shown = {family.name for family in families} | {sample.name for family in families for sample in family.samples}
    (rule,) = find(render(*ALL_ON), "PrometheusRule")
    alerts = [alert for group in rule["spec"]["groups"] for alert in group["rules"]]
    assert {name for alert in alerts for name in re.findall(r"pagoda_\w+", alert["expr"])} <= shown
    assert all(alert["annotations"]["summary"] and alert["annotations"]["description"] for alert in alerts)


def test_notes_say_how_to_serve_and_what_is_left_to_do(helm: Helm) -> None:
    notes = helm("install", "rel", str(CHART), "--dry-run=client", "--set", "metricsApi.enabled=false").stdout
    assert "kubectl apply -f -" in notes and "NB: metricsApi.enabled is false" in notes


def test_every_dashboard_is_packaged(render: Render) -> None:
    (config,) = find(render(*ALL_ON), "ConfigMap")
    boards = [json.loads(path.read_text()) for path in sorted((CHART / "dashboards").glob("*.json"))]
    assert [json.loads(text) for _, text in sorted(config["data"].items())] == boards and len(boards) == 3


def test_only_the_ports_of_metrics_and_probes_are_let_in(render: Render) -> None:
    (policy,) = find(render(), "NetworkPolicy")
    ports = [port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]]
    (deployment,) = find(render(), "Deployment")
    served = [port["name"] for port in deployment["spec"]["template"]["spec"]["containers"][0]["ports"]]
    assert policy["spec"]["policyTypes"] == ["Ingress"] and sorted(ports) == sorted(served)
    (narrow,) = find(render("networkPolicy.metricsFrom[0].namespaceSelector.matchLabels.a=b"), "NetworkPolicy")
    assert narrow["spec"]["ingress"][0]["from"] == [{"namespaceSelector": {"matchLabels": {"a": "b"}}}]
    assert not find(render("networkPolicy.enabled=false"), "NetworkPolicy")


def test_whoever_has_only_the_editor_role_can_apply(render: Render) -> None:
    (editor,) = find(render(), "ClusterRole", "editor")
    (rule,) = [rule for rule in editor["rules"] if rule["resources"] == ["modeldeployments"]]
    assert {"get", "list", "watch", "create", "patch", "delete"} <= set(rule["verbs"])
    written = [rule for rule in editor["rules"] if "modeldeployments/status" in rule["resources"]]
    assert all(rule["verbs"] == ["get"] for rule in written)


def test_what_an_ingress_may_have_reaches_the_operator_and_is_nothing_by_default(render: Render) -> None:
    from pagoda_operator.controller.observe import build_plan_settings
    from pagoda_operator.settings import build_settings

    def read(*settings: str) -> Any:
        (deployment,) = find(render(*settings), "Deployment")
        env = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
        return build_plan_settings(build_settings([], {i["name"]: i["value"] for i in env if "value" in i}))

    assert (read().ingress.host_suffixes, read().ingress.annotations) == ((), ())
    hosts = "ingress.allowedHosts={a.example.com,b.example.com}"
    assert read(hosts).ingress.host_suffixes == ("a.example.com", "b.example.com")
    assert read("ingress.allowedAnnotations={a/b}").ingress.annotations == ("a/b",)
    assert read("models.sizeLimit=7Gi").models_size_limit == "7Gi"
