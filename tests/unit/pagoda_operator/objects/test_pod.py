"""What the operator's settings change in a model's pod."""

from dataclasses import replace

from pagoda_operator.api import ModelDeployment
from pagoda_operator.objects.pod import build_pod_template
from pagoda_operator.objects.settings import BuildSettings

SETTINGS = BuildSettings("control", "server")
MDEP = ModelDeployment.model_validate(
    {
        "apiVersion": "pagoda.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": "m"},
        "spec": {"model": {"uri": "hf://a/b"}},
    }
)


def read_fetch_variables(settings: BuildSettings) -> dict[str, str]:
    fetch = build_pod_template(MDEP, settings)["spec"]["initContainers"][0]
    return {item["name"]: item["value"] for item in fetch["env"]}


def test_a_mirror_of_the_hub_is_told_to_the_container_that_fetches() -> None:
    assert "HF_ENDPOINT" not in read_fetch_variables(SETTINGS)
    mirror = "https://hub.example.com"
    assert read_fetch_variables(replace(SETTINGS, hub_endpoint=mirror))["HF_ENDPOINT"] == mirror


def test_the_pod_runs_as_the_user_of_the_settings() -> None:
    named = build_pod_template(MDEP, SETTINGS)["spec"]["securityContext"]
    assert (named["runAsUser"], named["fsGroup"]) == (10001, 10001)
    assert "runAsUser" not in build_pod_template(MDEP, replace(SETTINGS, user_id=0))["spec"]["securityContext"]
