"""A profile that changes restarts no pod until its author changes the spec, unless asked to."""

from datetime import UTC, datetime
from typing import Any

import pytest

from pagoda_operator.api.profile import Profiles, read_profile, read_profiles
from pagoda_operator.objects.settings import BuildSettings
from pagoda_operator.plan import ReconcilePlan, plan, world_of

NOW = datetime(2026, 1, 2, tzinfo=UTC)
SETTINGS = BuildSettings("control:1", "server:1")
CLUSTER = frozenset({"monitoring.coreos.com/PodMonitor", "monitoring.coreos.com/PrometheusRule"})


def profiles(memory: str, *, release: str = "a") -> Profiles:
    h100 = {"resources": {"memory": memory}, "monitoring": {"labels": {"release": release}}}
    return Profiles(named=read_profiles({"h100": h100}))


def planned(spec: dict[str, Any], known: Profiles, live: dict[str, Any] | None = None) -> ReconcilePlan:
    resource = {
        "apiVersion": "pagoda.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": "m", "namespace": "team", "uid": "u", "generation": 1},
        "spec": {"model": {"uri": "hf://a/b"}, **spec},
    }
    children = (live,) if live else ()
    return plan(world_of(resource, children=children, profiles=known, kinds=CLUSTER), NOW, SETTINGS)


def one(found: ReconcilePlan, kind: str) -> dict[str, Any]:
    return next(obj for obj in found.objects if obj["kind"] == kind)


def memory_of(found: ReconcilePlan) -> str:
    server = one(found, "Deployment")["spec"]["template"]["spec"]["containers"][0]
    return str(server["resources"]["limits"]["memory"])


@pytest.mark.parametrize(
    ("policy", "changed", "memory"),
    [("OnChange", {}, "64Gi"), ("Immediately", {}, "96Gi"), ("OnChange", {"engine": {"maxNumSeqs": 8}}, "96Gi")],
)
def test_a_changed_profile_reaches_the_pods_when_the_upgrade_policy_says(
    policy: str, changed: dict[str, Any], memory: str
) -> None:
    spec = {"profile": "h100", "rollout": {"upgradePolicy": policy}}
    before = planned(spec, profiles("64Gi"))
    assert memory_of(before) == "64Gi"
    after = planned({**spec, **changed}, profiles("96Gi", release="b"), one(before, "Deployment"))
    assert memory_of(after) == memory
    assert one(after, "PodMonitor")["metadata"]["labels"]["release"] == "b", "what is no pod follows at once"


def test_a_chart_that_gets_defaults_restarts_no_pod_of_a_resource_that_was_there_before() -> None:
    before = planned({}, Profiles())
    defaults = Profiles(read_profile("models.defaults", {"scheduling": {"runtimeClassName": "nvidia"}}))
    template = one(before, "Deployment")["spec"]["template"]
    assert one(planned({}, defaults, one(before, "Deployment")), "Deployment")["spec"]["template"] == template
    assert one(planned({}, defaults), "Deployment")["spec"]["template"]["spec"]["runtimeClassName"] == "nvidia"


def test_another_profile_of_the_spec_is_a_change_of_the_spec() -> None:
    known = Profiles(
        named=read_profiles({"a": {"resources": {"memory": "1Gi"}}, "b": {"resources": {"memory": "2Gi"}}})
    )
    before = planned({"profile": "a"}, known)
    assert memory_of(planned({"profile": "b"}, known, one(before, "Deployment"))) == "2Gi"


def test_a_profile_that_is_not_known_changes_nothing_and_the_status_names_those_that_are() -> None:
    found = planned({"profile": "l4"}, profiles("64Gi"))
    ready = found.status["conditions"][0]
    assert found.objects == () and found.deletions == ()
    assert ready["reason"] == "InvalidSpec"
    assert ready["message"] == "spec.profile: there is no profile l4: set one of the chart's profiles (h100)"
