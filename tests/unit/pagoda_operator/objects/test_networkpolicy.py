"""What may leave a model's pods."""

from typing import Any

import pytest

from pagoda_operator.api import ModelDeployment
from pagoda_operator.objects.networkpolicy import build_networkpolicy
from pagoda_operator.objects.settings import BuildSettings


def tcp_ports_out(uri: str, ports: list[int] | None) -> list[int]:
    raw = {"apiVersion": "pagoda.dev/v1alpha1", "kind": "ModelDeployment", "metadata": {"name": "m", "namespace": "ns"}}
    wanted: dict[str, Any] = {} if ports is None else {"egressPorts": ports}
    spec = {"model": {"uri": uri}, "networkPolicy": wanted}
    policy = build_networkpolicy(ModelDeployment.model_validate({**raw, "spec": spec}), BuildSettings("c", "s"))
    assert policy is not None
    return [port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"] if port["protocol"] == "TCP"]


@pytest.mark.parametrize(
    ("uri", "ports", "out"),
    [
        ("bundled://pagoda-tiny", None, []),
        ("bundled://pagoda-tiny", [3128], [53, 3128]),
        ("hf://a/b", None, [53, 443]),
        ("hf://a/b", [3128, 443], [53, 443, 3128]),
    ],
)
def test_dns_and_the_ports_that_are_listed_or_downloaded_from(
    uri: str, ports: list[int] | None, out: list[int]
) -> None:
    assert tcp_ports_out(uri, ports) == out
