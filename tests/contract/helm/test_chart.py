"""The chart: what it renders is valid Kubernetes, least privilege, and true to the files it copies."""

import json
import re
import runpy
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
BAD_VALUES = [
    *("replcias=2", "replicas=0", "replicas=6", "image.contorl=x", "image.server.pullPolicy=Always"),
    *("image.control.pullPolicy=Sometimes", "metricsApi.enable=true", "serviceMonitor.interval=soon"),
    *("prometheusRule.lables.a=b", "dashboards.folder=x", "resources.limit=x", "crds.keep=maybe"),
    *("ingress.allowedHost={a}", "models.sizeLimit=much", "networkPolicy.enable=true", "openshift=maybe"),
    *("tracing.endpoint=collector:4318", "tracing.samplingRatio=2", "tracing.ratio=1"),
    *("global.storageClass=x", "global.imageRegistry=https://r.example", "image.control.digest=sha256:abc"),
    *("image.server.digst=x", "models.allowed.image={a}", "models.allowed.serviceTypes={ExternalName}"),
    *("models.allowed.sources={mysecret}", "models.default=x", "models.defaults.model=x"),
    *("profiles.h100.resources.gpu=1", "profiles.h100.scheduling.nodeSelecter.a=b", "profiles.h100.engine=x"),
    *("profiles.h100.monitoring.enabled=false", "profiles.h100.download.endpont=x", "watchNamespaces={a_b}"),
]


def find(objects: list[Object], kind: str, name: str = "") -> list[Object]:
    return [item for item in objects if item["kind"] == kind and name in item["metadata"]["name"]]


def test_lint_has_no_complaint(helm: Helm) -> None:
    result = helm("lint", "--strict", str(CHART))
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("setting", BAD_VALUES)
def test_unknown_or_bad_value_is_refused(helm: Helm, setting: str) -> None:
    result = helm("template", "rel", str(CHART), "--set", setting)
    assert result.returncode != 0
    assert setting.split("=")[0].removesuffix(".a").split(".")[-1] in result.stderr


@pytest.mark.parametrize("scope", [(), ("watchNamespaces={a,b}",)])
def test_no_rule_has_a_wildcard_and_secrets_are_named(render: Render, scope: tuple[str, ...]) -> None:
    objects = render(*ALL_ON, *scope)
    rules = [rule for item in objects if item["kind"] in ("Role", "ClusterRole") for rule in item["rules"]]
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


def test_on_openshift_no_pod_names_a_user(helm: Helm) -> None:
    from pagoda_operator.controller.observe import build_plan_settings
    from pagoda_operator.settings import build_settings

    def read(*flags: str) -> tuple[int | None, int]:
        """Returns the uid of the operator's pod, and that of the model pods that it makes."""
        objects = [item for item in yaml.safe_load_all(helm("template", "rel", str(CHART), *flags).stdout) if item]
        (deployment,) = find(objects, "Deployment")
        pod = deployment["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        env = {item["name"]: item["value"] for item in pod["containers"][0]["env"] if "value" in item}
        return pod["securityContext"].get("runAsUser"), build_plan_settings(build_settings([], env)).user_id

    has_api = ("--api-versions", "security.openshift.io/v1")
    assert read() == read("--set", "openshift=false", *has_api) == (65532, 10001)
    assert read(*has_api) == read("--set", "openshift=true") == read("--set", "openshift=true", *has_api) == (None, 0)


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

    own = ("imagePullSecrets[0].name=a", "imagePullSecrets[1].name=b")
    (deployment,) = find(render(*own, "global.imagePullSecrets={c,a}"), "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    assert pod["imagePullSecrets"] == [{"name": "c"}, {"name": "a"}, {"name": "b"}]
    env = {item["name"]: item["value"] for item in pod["containers"][0]["env"] if "value" in item}
    assert build_plan_settings(build_settings([], env)).image_pull_secrets == ("c", "a", "b")


def test_the_values_and_their_schema_name_the_same_things() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())["properties"]
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert set(values) == set(schema)
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
    bare = read_settings(render()).ingress
    assert (bare.host_suffixes, bare.annotations) == ((), ())
    hosts = "ingress.allowedHosts={a.example.com,b.example.com}"
    assert read_settings(render(hosts)).ingress.host_suffixes == ("a.example.com", "b.example.com")
    assert read_settings(render("ingress.allowedAnnotations={a/b}")).ingress.annotations == ("a/b",)
    assert read_settings(render("models.sizeLimit=7Gi")).models_size_limit == "7Gi"


def test_where_traces_go_reaches_the_operator_and_is_nowhere_by_default(render: Render) -> None:
    bare = read_settings(render()).tracing
    assert (bare.endpoint, bare.sampling_ratio) == ("", 0.01)
    found = read_settings(render("tracing.endpoint=http://collector.a:4318", "tracing.samplingRatio=0")).tracing
    assert (found.endpoint, found.sampling_ratio) == ("http://collector.a:4318", 0)


def read_settings(objects: list[Object]) -> Any:
    """What the operator makes of the variables that the chart gives it."""
    from pagoda_operator.controller.observe import build_plan_settings
    from pagoda_operator.settings import build_settings

    (deployment,) = find(objects, "Deployment")
    env = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    literal = {item["name"]: item["value"].replace("$$(", "$(") for item in env if "value" in item}
    return build_plan_settings(build_settings([], literal))


def test_the_schema_of_profiles_is_the_generated_one() -> None:
    text = (CHART / "values.schema.json").read_text()
    assert text == runpy.run_path(str(ROOT / "helm" / "generate_schema.py"))["write_schema"](text)


def test_profiles_defaults_and_what_is_allowed_reach_the_operator_and_are_nothing_by_default(render: Render) -> None:
    bare = read_settings(render())
    assert (bare.profiles.named, bare.profiles.defaults, bare.allowed) == ({}, {}, type(bare.allowed)())
    found = read_settings(
        render(
            "profiles.h100.resources.memory=64Gi",
            "profiles.h100.pod.env[0].name=URL",
            "profiles.h100.pod.env[0].value=http://$(POD_NAME)",
            "models.defaults.monitoring.labels.release=p",
            "models.allowed.env={NCCL_*}",
        )
    )
    h100 = {"resources": {"memory": "64Gi"}, "pod": {"env": [{"name": "URL", "value": "http://$(POD_NAME)"}]}}
    assert found.profiles.named == {"h100": h100}
    assert found.profiles.defaults == {"monitoring": {"labels": {"release": "p"}}}
    assert found.allowed.env == ("NCCL_*",)


def test_a_variable_of_a_profile_is_not_taken_for_one_of_the_operator(render: Render) -> None:
    """Kubernetes puts the operator's own variables in the place of $(NAME), in whatever text."""
    (deployment,) = find(
        render("models.defaults.pod.env[0].name=A", "models.defaults.pod.env[0].value=$(B)"), "Deployment"
    )
    env = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    (value,) = [item["value"] for item in env if item["name"] == "PAGODA_MODEL_DEFAULTS"]
    assert "$$(B)" in value


@pytest.mark.parametrize("name", ["resources.gpus=two", "scheduling.tolerations[0].operator=Exsits"])
def test_a_bad_value_of_a_profile_is_refused_before_anything_is_installed(helm: Helm, name: str) -> None:
    result = helm("template", "rel", str(CHART), "--set", f"profiles.h100.{name}")
    assert result.returncode != 0 and "/profiles/h100/" in result.stderr


DIGEST = f"sha256:{'0' * 64}"


@pytest.mark.parametrize(
    ("settings", "image"),
    [
        ((), "ghcr.io/pagoda-dev/pagoda:0.1.0"),
        (("image.registry=r.example:5000/mirror/",), "r.example:5000/mirror/pagoda-dev/pagoda:0.1.0"),
        (("image.registry=a.example", "global.imageRegistry=b.example"), "b.example/pagoda-dev/pagoda:0.1.0"),
        (("image.registry=a.example", "image.control.repository=team/pagoda"), "a.example/team/pagoda:0.1.0"),
        (("image.control.repository=pagoda", "image.control.tag=dev"), "pagoda:dev"),
        ((f"image.control.digest={DIGEST}", "image.control.tag=dev"), f"ghcr.io/pagoda-dev/pagoda@{DIGEST}"),
    ],
)
def test_one_value_moves_the_images_and_a_digest_goes_before_a_tag(
    render: Render, settings: tuple[str, ...], image: str
) -> None:
    objects = render(*settings)
    (deployment,) = find(objects, "Deployment")
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == image
    found = read_settings(objects)
    assert found.control_image == image
    moved = [s for s in settings if "egistry" in s]
    assert not moved or found.server_image.startswith(image.partition("/")[0])


CLUSTER_WIDE = {"ingressclasses", "storageclasses", "apiservices", "clusterroles"}


def test_with_namespaces_to_watch_the_cluster_role_has_only_what_no_namespace_has(render: Render) -> None:
    objects = render("watchNamespaces={a,b}")
    (wide,) = [role for role in find(objects, "ClusterRole") if role["metadata"]["name"] == "rel-pagoda"]
    assert {name for rule in wide["rules"] for name in rule["resources"]} == CLUSTER_WIDE
    (everywhere,) = [role for role in find(render(), "ClusterRole") if role["metadata"]["name"] == "rel-pagoda"]
    elsewhere = [rule for rule in everywhere["rules"] if not CLUSTER_WIDE & set(rule["resources"])]
    roles = {role["metadata"]["namespace"]: role for role in find(objects, "Role", "-models")}
    assert set(roles) == {"a", "b", "pagoda-system"}
    assert all(role["rules"] == elsewhere for role in roles.values())
    bound = {b["metadata"]["namespace"]: b["roleRef"]["name"] for b in find(objects, "RoleBinding", "-models")}
    assert bound == dict.fromkeys(roles, "rel-pagoda-models")
    assert not [role for role in find(objects, "ClusterRole") if "hpa-metrics" in role["metadata"]["name"]]
    assert {role["metadata"]["namespace"] for role in find(objects, "Role", "hpa-metrics")} == {"a", "b"}


def test_without_cluster_roles_none_is_made_and_what_needs_one_is_said(render: Render, helm: Helm) -> None:
    narrow = ("rbac.clusterRoles=false", "watchNamespaces={a}", "metricsApi.enabled=false")
    objects = render(*narrow)
    assert not find(objects, "ClusterRole") and not find(objects, "ClusterRoleBinding") and find(objects, "Role")
    for settings in (narrow[:1], narrow[:2]):
        flags = [flag for setting in settings for flag in ("--set", setting)]
        assert (
            "watchNamespaces, and set metricsApi.enabled to false" in helm("template", "rel", str(CHART), *flags).stderr
        )


NEWER = (
    *("global", "image.registry", "image.control.digest", "image.server.digest", "watchNamespaces"),
    *("profiles", "tracing", "models.defaults", "models.allowed", "rbac.clusterRoles"),
)


def test_values_of_the_release_before_that_are_reused_render_the_same(render: Render) -> None:
    """With `helm upgrade --reuse-values` what is new in values.yaml is not there, not even its default."""
    reused, fresh = render(*(f"{name}=null" for name in NEWER)), render()
    assert read_settings(reused) == read_settings(fresh)
    others = [[item for item in objects if item["kind"] != "Deployment"] for objects in (reused, fresh)]
    assert others[0] == others[1]
