"""A host without its certificate is said by what was shown for it, and never where nothing is known."""

from dataclasses import replace
from typing import Any

import pytest

from pagoda_operator.objects.settings import IngressRules
from pagoda_operator.plan import Handshake, Unasked, World, world_of
from pagoda_operator.plan.certificate import find_expiration, is_name_of
from tests.doubles.snapshots import condition, planned, pod, resource, verdict

CLASS = {"metadata": {"name": "nginx"}, "spec": {"controller": "k8s.io/ingress-nginx"}}


def world(handshake: Handshake | Unasked | None, **ingress: Any) -> World:
    raw = resource(ingress={"host": "a.example.com", **ingress})
    known: dict[str, Any] = {"ingress_classes": (CLASS,), "ingress_rules": IngressRules(("*",))}
    return world_of(raw, pods=[pod("m-1", "a", ready=True)], handshake=handshake, **known)


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        (("ingress.local",), "shows a certificate of other names (ingress.local) for a.example.com"),
        ((), "shows a certificate of other names (it has none) for a.example.com"),
        (None, "refuses TLS for a.example.com"),
        (("x\n<y>" + "z" * 200,), f"shows a certificate of other names (x??y?{'z' * 75}) for"),
    ],
)
def test_a_host_that_is_shown_no_certificate_is_said_and_the_model_serves_on(
    shown: tuple[str, ...] | None, said: str
) -> None:
    seen = world(Handshake("192.0.2.1", shown), tlsSecretName="llm-tls")
    assert verdict(seen, "Ingress") == ("False", "CertificateMissing")
    message = condition(seen, "Ingress")["message"]
    assert f"at 192.0.2.1 {said}" in message and "the Secret llm-tls of spec.ingress.tlsSecretName" in message
    assert verdict(seen) == ("True", "Degraded") and "CertificateMissing" in condition(seen, "Ready")["message"]
    assert condition(seen, "Stalled") == {}, "whoever makes certificates may be at work"


@pytest.mark.parametrize(
    "seen",
    [
        world(None, tlsSecretName="t"),
        world(Handshake("192.0.2.1", ("b.example.com", "*.example.com")), tlsSecretName="t"),
        world(Handshake("192.0.2.1", ("ingress.local",))),
    ],
    ids=["nothing is known", "a wildcard is for it", "none is asked for"],
)
def test_nothing_is_said_otherwise(seen: World) -> None:
    assert (verdict(seen, "Ingress"), verdict(seen)) == (("True", "Written"), ("True", "Serving"))


def test_a_leader_that_has_asked_nobody_yet_takes_nothing_back_that_was_said_of_this_spec() -> None:
    said = planned(world(Handshake("192.0.2.1", None), tlsSecretName="t")).status
    seen = replace(world(Unasked(), tlsSecretName="t"), before=said)
    assert planned(seen).status["conditions"] == said["conditions"] and planned(seen).events == ()
    assert verdict(replace(seen, handshake=None), "Ingress") == ("True", "Written")
    for told in said["conditions"]:
        told["observedGeneration"] = 1
    assert verdict(seen, "Ingress") == ("True", "Written"), "that was another spec"


@pytest.mark.parametrize(
    ("host", "name", "expected"),
    [
        ("a.example.com", "A.Example.com", True),
        ("a.example.com", "*.example.com", True),
        ("a.b.example.com", "*.example.com", False),
        ("example.com", "*.example.com", False),
        ("example", "*.example", False),
        ("a.example.com", "*", False),
    ],
)
def test_a_wildcard_stands_for_one_label(host: str, name: str, expected: bool) -> None:
    assert is_name_of(host, name) is expected


@pytest.mark.parametrize(
    ("spec", "seen", "expected"),
    [
        ({"ingress": {"host": "a.b"}}, Handshake("192.0.2.1", ("a.b",), 5.0), 5.0),
        ({"ingress": {"host": "a.b"}}, Handshake("192.0.2.1", ("ingress.local",), 5.0), None),
        ({"ingress": {"host": "a.b"}}, None, None),
        ({"ingress": "nonsense"}, Handshake("192.0.2.1", ("a.b",), 5.0), None),
        ({}, Handshake("192.0.2.1", ("a.b",), 5.0), None),
    ],
)
def test_only_of_a_certificate_for_the_host_is_known_when_it_ends(
    spec: dict[str, Any], seen: Handshake | None, expected: float | None
) -> None:
    assert find_expiration({"spec": spec}, seen) == expected
