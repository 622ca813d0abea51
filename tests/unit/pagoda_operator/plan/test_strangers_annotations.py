"""What anybody may have written into annotations, labels and a status never stops a plan."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pagoda_operator.kube.objects import REVISION_INPUTS, WRITTEN_REPLICAS
from pagoda_operator.objects.settings import BuildSettings
from pagoda_operator.plan import needs_apply, plan, world_of

NOW = datetime(2026, 1, 2, tzinfo=UTC)
SETTINGS = BuildSettings("control:1", "server:1")
junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["1e999", "Ready"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
FIGURES = ("conditions", "capacity", "load", "selector", "url", "revision", "replicas", "observedGeneration")
statuses = st.dictionaries(
    st.sampled_from(FIGURES), junk | st.fixed_dictionaries({"tokensPerSecond": junk, "key": junk}), max_size=4
)


def resource(status: Any) -> dict[str, Any]:
    metadata = {"name": "m", "namespace": "ns", "uid": "u1", "generation": 3}
    spec = {"model": {"uri": "hf://a/b"}, "autoscaling": {"maxReplicas": 3}}
    kind = {"apiVersion": "pagoda.dev/v1alpha1", "kind": "ModelDeployment"}
    return {**kind, "metadata": metadata, "spec": spec, "status": status}


BUILT = plan(world_of(resource({})), NOW, SETTINGS).objects


def deployment(remembered: str, written: str = "", **labels: str) -> dict[str, Any]:
    built = next(o for o in BUILT if o["kind"] == "Deployment")
    annotations = {REVISION_INPUTS: remembered, WRITTEN_REPLICAS: written}
    return {**built, "metadata": {**built["metadata"], "annotations": annotations, "labels": labels}}


def images(remembered: str) -> list[str]:
    planned = plan(world_of(resource({}), children=[deployment(remembered)]), NOW, SETTINGS)
    spec = next(o for o in planned.objects if o["kind"] == "Deployment")["spec"]["template"]["spec"]
    return [container["image"] for container in (*spec["initContainers"], *spec["containers"])]


@settings(deadline=None)
@given(statuses | junk, st.text(max_size=20) | junk.map(json.dumps), st.text(max_size=5), st.text(max_size=5))
def test_a_plan_is_made_whatever_stands_there(status: Any, remembered: str, written: str, label: str) -> None:
    children = [deployment(remembered, written, **{"pagoda.dev/model-deployment": label})]
    planned = plan(world_of(resource(status), children=children), NOW, SETTINGS)
    assert planned.status["conditions"] and planned.objects
    assert all(needs_apply(desired, None) for desired in planned.objects)
    json.dumps(planned.status, allow_nan=False)


@pytest.mark.parametrize(
    "remembered",
    [
        "[" * 100_000,
        '{"inputs": ' + "9" * 10_000 + "}",
        '{"inputs": "x", "template": {}}',
        '{"inputs": "x", "template": {"spec": {"containers": null}}}',
        "x" * 300_000,
        "\ud800",
    ],
    ids=["deep", "large number", "empty", "null", "large", "surrogate"],
)
def test_a_spoilt_memory_of_the_template_is_built_anew(remembered: str) -> None:
    assert images(remembered) == ["control:1", "control:1", "server:1"]


@pytest.mark.parametrize("template", [{}, {"spec": {}}, {"spec": {"initContainers": 5, "containers": [{"name": 1}]}}])
def test_a_template_that_is_none_of_ours_is_not_kept(template: Any) -> None:
    mine = next(o for o in BUILT if o["kind"] == "Deployment")["metadata"]["annotations"][REVISION_INPUTS]
    assert images(json.dumps({**json.loads(mine), "template": template})) == ["control:1", "control:1", "server:1"]
