"""Traces of a model: where they go, what its pods are told, what they may call, and that others stay as they are."""

from typing import Any

import pytest
from pydantic import ValidationError

from pagoda_guard.collector import find_port, parse_endpoint
from pagoda_operator.api import ModelDeployment
from pagoda_operator.objects.networkpolicy import build_networkpolicy
from pagoda_operator.objects.pod import build_pod_template
from pagoda_operator.objects.settings import BuildSettings, TracingSettings
from pagoda_operator.plan.revision import pod_inputs_hash

PLAIN = BuildSettings("control:1", "server:1")
EVERYWHERE = BuildSettings("control:1", "server:1", tracing=TracingSettings("http://default:4318", 0.25))
COLLECTOR = "http://collector.observability:4318"


def model(tracing: dict[str, Any] | None = None, uri: str = "bundled://pagoda-tiny") -> ModelDeployment:
    spec: dict[str, Any] = {"model": {"uri": uri}} | ({} if tracing is None else {"tracing": tracing})
    raw = {"apiVersion": "pagoda.dev/v1alpha1", "kind": "ModelDeployment", "metadata": {"name": "m", "namespace": "ns"}}
    return ModelDeployment.model_validate({**raw, "spec": spec})


def read_flags(mdep: ModelDeployment, settings: BuildSettings) -> tuple[list[str], list[str]]:
    """Returns the flags about traces of gateway and server."""
    spec = build_pod_template(mdep, settings)["spec"]
    commands = [spec["initContainers"][1]["command"], spec["containers"][0]["command"]]
    gateway, server = (
        command[command.index("--tracing-endpoint") :] if "--tracing-endpoint" in command else []
        for command in commands
    )
    return gateway, server


@pytest.mark.parametrize(
    ("tracing", "settings", "endpoint", "ratio"),
    [
        ({"endpoint": COLLECTOR, "samplingRatio": 1}, PLAIN, COLLECTOR, "1"),
        ({"endpoint": COLLECTOR}, PLAIN, COLLECTOR, "0.01"),
        ({"endpoint": COLLECTOR}, EVERYWHERE, COLLECTOR, "0.25"),
        ({"samplingRatio": 0}, EVERYWHERE, "http://default:4318", "0"),
        (None, EVERYWHERE, "http://default:4318", "0.25"),
    ],
)
def test_gateway_and_server_are_told_where_traces_go(
    tracing: dict[str, Any] | None, settings: BuildSettings, endpoint: str, ratio: str
) -> None:
    gateway, server = read_flags(model(tracing), settings)
    assert server == ["--tracing-endpoint", endpoint, "--pod-name", "$(POD_NAME)"]
    assert gateway[:-1] == [*server, "--tracing-sampling-ratio"]
    assert float(gateway[-1]) == float(ratio)


@pytest.mark.parametrize(
    ("tracing", "settings"),
    [(None, PLAIN), ({}, PLAIN), ({"samplingRatio": 1}, PLAIN), ({"enabled": False}, EVERYWHERE)],
)
def test_without_a_collector_the_pod_is_as_it_always_was(
    tracing: dict[str, Any] | None, settings: BuildSettings
) -> None:
    assert build_pod_template(model(tracing), settings) == build_pod_template(model(), PLAIN)
    assert "POD_NAME" not in str(build_pod_template(model(tracing), settings))
    policy = build_networkpolicy(model(tracing), settings)
    assert policy is not None and policy["spec"]["egress"] == []


def test_a_chart_wide_collector_changes_no_pod_that_runs() -> None:
    assert pod_inputs_hash(model()) == pod_inputs_hash(model({}))
    assert pod_inputs_hash(model()) != pod_inputs_hash(model({"endpoint": COLLECTOR}))


def test_callers_are_followed_only_when_asked_for() -> None:
    followed = read_flags(model({"endpoint": COLLECTOR, "followParent": True}), PLAIN)[0]
    assert followed[-1] == "--tracing-follow-parent"
    assert "--tracing-follow-parent" not in read_flags(model({"endpoint": COLLECTOR}), PLAIN)[0]


@pytest.mark.parametrize(
    ("endpoint", "uri", "ports"),
    [
        (COLLECTOR, "bundled://pagoda-tiny", [53, 53, 4318]),
        (COLLECTOR, "hf://org/name", [53, 53, 443, 4318]),
        ("https://collector.example.com/otlp", "hf://org/name", [53, 53, 443]),
        ("http://collector", "bundled://pagoda-tiny", [53, 53, 80]),
    ],
)
def test_pods_may_call_the_collector(endpoint: str, uri: str, ports: list[int]) -> None:
    policy = build_networkpolicy(model({"endpoint": endpoint}, uri), PLAIN)
    assert policy is not None
    assert [port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]] == ports


@pytest.mark.parametrize(
    "endpoint",
    [
        "collector:4318",
        "grpc://collector:4317",
        "http://",
        "http://user:secret@collector:4318",
        "http://collector:0",
        "http://collector:65536",
        "http://collector:4318?key=secret",
        "http://collector:4318/$(SECRET)",
        "http://collector:4318\n",
    ],
)
def test_what_is_no_collector_is_refused_by_resource_and_settings(endpoint: str) -> None:
    with pytest.raises(ValidationError, match="endpoint"):
        model({"endpoint": endpoint})
    with pytest.raises(ValueError, match="give http://HOST:PORT"):
        parse_endpoint(endpoint)


@pytest.mark.parametrize("endpoint", ["http://192.0.2.1:65535", "https://a-b.c/x/", "http://[2001:db8::1]:4318"])
def test_an_address_of_a_collector_is_taken(endpoint: str) -> None:
    assert model({"endpoint": endpoint}).spec.tracing is not None
    assert parse_endpoint(endpoint) == endpoint.rstrip("/")
    assert find_port(endpoint) in (65535, 443, 4318)
