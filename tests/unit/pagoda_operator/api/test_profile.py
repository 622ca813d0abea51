"""A profile fills in what a resource leaves open; one that cannot be used is refused by name at the start."""

from typing import Any

import pytest

from pagoda_operator.api import ModelDeployment
from pagoda_operator.api.profile import ProfileError, Profiles, read_allowed, read_profile, read_profiles

TAINT = {"key": "nvidia.com/gpu", "operator": "Exists"}


def model(**spec: Any) -> ModelDeployment:
    body = {"model": {"uri": "hf://a/b"}, **spec}
    return ModelDeployment.model_validate(
        {"apiVersion": "pagoda.dev/v1alpha1", "kind": "ModelDeployment", "metadata": {"name": "m"}, "spec": body}
    )


def resolve(spec: dict[str, Any], profile: dict[str, Any], defaults: dict[str, Any] | None = None) -> dict[str, Any]:
    profiles = Profiles(read_profile("models.defaults", defaults or {}), read_profiles({"h100": profile}))
    found = profiles.resolve(model(profile="h100", **spec)).spec
    return found.model_dump(by_alias=True, exclude_none=True)


def test_without_a_profile_and_defaults_the_resource_is_as_it_was() -> None:
    mdep = model(resources={"cpu": "2"})
    assert Profiles().resolve(mdep) is mdep


def test_the_resource_goes_before_its_profile_and_the_profile_before_the_defaults_field_by_field() -> None:
    found = resolve(
        {"resources": {"cpu": "8"}},
        {"resources": {"cpu": "4", "memory": "64Gi"}},
        {"resources": {"memory": "1Gi", "sharedMemory": "4Gi"}, "scheduling": {"runtimeClassName": "nvidia"}},
    )
    assert (found["resources"]["cpu"], found["resources"]["memory"]) == ("8", "64Gi")
    assert found["resources"]["sharedMemory"] == "4Gi"
    assert found["scheduling"]["runtimeClassName"] == "nvidia"


def test_maps_and_named_lists_are_joined_by_key_and_other_values_replaced() -> None:
    found = resolve(
        {
            "scheduling": {"nodeSelector": {"zone": "a"}, "tolerations": [{**TAINT, "effect": "NoExecute"}]},
            "pod": {"env": [{"name": "A", "value": "mine"}, {"name": "C", "value": "3"}]},
            "networkPolicy": {"egressPorts": [8443, 3128]},
        },
        {
            "scheduling": {"nodeSelector": {"gpu": "h100", "zone": "b"}, "tolerations": [TAINT]},
            "pod": {"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]},
            "networkPolicy": {"egressPorts": [3128]},
        },
    )
    assert found["scheduling"]["nodeSelector"] == {"gpu": "h100", "zone": "a"}
    assert found["scheduling"]["tolerations"] == [TAINT, {**TAINT, "effect": "NoExecute"}]
    assert [(v["name"], v["value"]) for v in found["pod"]["env"]] == [("A", "mine"), ("B", "2"), ("C", "3")]
    assert found["networkPolicy"]["egressPorts"] == [3128, 8443]


def test_a_default_that_the_api_server_wrote_into_the_resource_does_not_hide_the_profile() -> None:
    found = resolve(
        {"resources": {"gpuResource": "nvidia.com/gpu", "cpu": "4"}},
        {"resources": {"gpuResource": "nvidia.com/mig-3g.40gb"}},
    )
    assert found["resources"]["gpuResource"] == "nvidia.com/mig-3g.40gb"


def test_a_profile_that_is_not_there_is_refused_with_those_that_are() -> None:
    profiles = Profiles(named=read_profiles({"h100": {}, "a10": {}}))
    with pytest.raises(ProfileError, match=r"no profile l4: set one of the chart's profiles \(a10, h100\)"):
        profiles.resolve(model(profile="l4"))


def test_a_profile_that_does_not_go_with_the_spec_is_refused_with_the_rule() -> None:
    profiles = Profiles(named=read_profiles({"slice": {"resources": {"gpuResource": "nvidia.com/mig-1g.10gb"}}}))
    with pytest.raises(ProfileError, match="profile slice does not go with this spec: .*MIG slices"):
        profiles.resolve(model(profile="slice", engine={"tensorParallel": 2}))


def test_download_becomes_variables_a_volume_and_the_ports_out() -> None:
    download = {
        "endpoint": "https://hub.example.com:8443",
        "httpsProxy": "http://proxy.example.com:3128",
        "noProxy": ".svc",
        "caBundle": {"configMapName": "ca"},
    }
    found = resolve({}, {"download": download, "pod": {"env": [{"name": "A", "value": "1"}]}})
    assert {v["name"]: v["value"] for v in found["pod"]["env"]} == {
        "HF_ENDPOINT": "https://hub.example.com:8443",
        "HTTPS_PROXY": "http://proxy.example.com:3128",
        "NO_PROXY": ".svc",
        "SSL_CERT_FILE": "/mnt/pagoda-ca/ca.crt",
        "A": "1",
    }
    assert found["pod"]["volumes"] == [{"name": "pagoda-ca", "configMap": {"name": "ca"}}]
    assert found["networkPolicy"]["egressPorts"] == [3128, 8443]


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({"resorces": {}}, "profiles.p: resorces: Extra inputs"),
        ({"resources": {"gpu": 1}}, "profiles.p: resources.gpu: Extra inputs"),
        ({"resources": {"gpus": "many"}}, "profiles.p: resources.gpus: .*got 'many'"),
        ({"model": {"uri": "hf://a/b"}}, "profiles.p: model: Extra inputs"),
        ({"monitoring": {"enabled": False}}, "profiles.p: monitoring.enabled: Extra inputs"),
        ({"scheduling": {"tolerations": [{**TAINT, "value": "x"}]}}, "with the operator Exists there is no value"),
        ({"pod": {"env": [{"name": "HF_HOME", "value": "/x"}]}}, "HF_HOME.* are set by the operator"),
        ({"download": {"endpoint": "hub.example"}}, "profiles.p: download.endpoint: "),
        ("h100", "profiles.p: "),
    ],
)
def test_a_profile_that_cannot_be_used_is_refused_by_its_field(raw: Any, said: str) -> None:
    with pytest.raises(ProfileError, match=said):
        read_profiles({"p": raw})


def test_a_profile_of_several_gpus_is_for_models_that_are_split_so() -> None:
    assert resolve({"engine": {"tensorParallel": 8}}, {"resources": {"gpus": 8}})["resources"]["gpus"] == 8


@pytest.mark.parametrize(("raw", "said"), [({"image": []}, "models.allowed.image: Extra"), ([], "models.allowed")])
def test_an_unknown_list_of_what_is_allowed_is_refused(raw: Any, said: str) -> None:
    with pytest.raises(ProfileError, match=said):
        read_allowed(raw)


@pytest.mark.parametrize(
    ("pod", "said"),
    [
        ({"volumes": [{"name": "pagoda-ca", "emptyDir": {"sizeLimit": "1Gi"}}]}, "pagoda-ca is a volume of profile p"),
        ({"volumeMounts": [{"name": "x", "mountPath": "/mnt/pagoda-ca"}]}, "profile p mounts there too"),
        ({"volumeMounts": [{"name": "x", "mountPath": "/mnt/pagoda-ca/ca.crt"}]}, "profile p mounts there too"),
    ],
)
def test_an_author_hides_no_volume_of_the_profile(pod: dict[str, Any], said: str) -> None:
    profiles = Profiles(named=read_profiles({"p": {"download": {"caBundle": {"configMapName": "ca"}}}}))
    with pytest.raises(ProfileError, match=said):
        profiles.resolve(model(profile="p", pod=pod))
    beside = {"volumeMounts": [{"name": "x", "mountPath": "/mnt/pagoda-ca-2"}]}
    assert profiles.resolve(model(profile="p", pod=beside)).spec.pod.volume_mounts
