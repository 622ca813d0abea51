"""One of two ModelDeployments with one host and path has the Ingress, and the other says so."""

from typing import Any

import pytest

from pagoda_operator.objects.settings import IngressRules
from pagoda_operator.plan import Rival, World, world_of
from tests.doubles.snapshots import Object, applied, condition, planned, resource, verdict

HOST = "a.example.com"
EARLY, LATE = "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z"
MERGES, WHOLE = "k8s.io/ingress-nginx", "nginx.org/ingress-controller"


def offered(controller: str = MERGES) -> Object:
    return {"metadata": {"name": "nginx"}, "spec": {"controller": controller}}


def model(name: str, born: str, *, namespace: str = "ns", **ingress: Any) -> Object:
    raw = resource(ingress={"host": HOST, **ingress})
    raw["metadata"] |= {"name": name, "namespace": namespace, "uid": f"uid-{name}", "creationTimestamp": born}
    return raw


def world(own: Object, *rivals: Rival, holds: str = "", controller: str = MERGES, **seen: Any) -> World:
    """`holds` is when the own Ingress was made."""
    known: dict[str, Any] = {
        "ingress_classes": (offered(controller),),
        "ingress_rules": IngressRules(("example.com",)),
        **seen,
    }
    children = [] if not holds else [ingress_of(own, holds)]
    return world_of(own, rivals=rivals, children=children, **known)


def ingress_of(raw: Object, born: str) -> Object:
    """The Ingress of a ModelDeployment, as the API server has it."""
    known: dict[str, Any] = {"ingress_classes": (offered(),), "ingress_rules": IngressRules(("*",))}
    found = next(child for child in applied(raw, **known) if child["kind"] == "Ingress")
    found["metadata"]["creationTimestamp"] = born
    return found


def has_ingress(seen: World) -> bool:
    return "Ingress" in {obj["kind"] for obj in planned(seen).objects}


def test_the_younger_has_no_ingress_and_says_who_has_the_host() -> None:
    own, other = model("m", LATE), model("older", EARLY)
    seen = world(own, Rival(other))
    assert verdict(seen, "Ingress") == verdict(seen) == ("False", "HostTaken")
    assert condition(seen, "Ingress")["message"].startswith(
        f"the ModelDeployment older has the host {HOST} with the path /v1 and gets its requests"
    )
    assert not has_ingress(seen) and planned(seen).status["url"] == "http://m.ns.svc:8000/v1"
    theirs = world(other, Rival(own))
    assert has_ingress(theirs) and verdict(theirs, "Ingress") == ("True", "Written")


def test_one_of_another_namespace_is_not_named() -> None:
    message = condition(world(model("m", LATE), Rival(model("secret", EARLY, namespace="theirs"))), "Ingress")[
        "message"
    ]
    assert message.startswith("a ModelDeployment of another namespace has the host")
    assert "secret" not in message and "theirs" not in message


def test_of_two_of_the_same_second_the_uid_decides() -> None:
    a, b = model("a", EARLY), model("b", EARLY)
    assert [has_ingress(world(a, Rival(b))), has_ingress(world(b, Rival(a)))] == [True, False]


def test_who_has_the_ingress_keeps_it_from_one_that_is_older_and_comes_by_an_edit() -> None:
    older, younger = model("older", EARLY), model("younger", LATE)
    assert not has_ingress(world(older, Rival(younger, ingress_of(younger, LATE))))
    assert has_ingress(world(younger, Rival(older), holds=LATE))
    moved = {**ingress_of(older, EARLY), "spec": {"rules": [{"host": "other.example.com"}]}}
    assert has_ingress(world(younger, Rival(older, moved), holds=LATE)), "an Ingress for another host holds nothing"


def test_of_two_that_have_an_ingress_the_one_that_nginx_takes_stays() -> None:
    older, younger = model("older", EARLY), model("younger", LATE)
    first, second = "2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"
    seen = world(older, Rival(younger, ingress_of(younger, first)), holds=second)
    assert not has_ingress(seen) and [ref.kind for ref in planned(seen).deletions] == ["Ingress"]
    assert has_ingress(world(younger, Rival(older, ingress_of(older, second)), holds=first))


def test_an_ingress_that_merely_has_the_name_holds_nothing() -> None:
    older, younger = model("older", EARLY), model("younger", LATE)
    theirs = ingress_of(younger, EARLY)
    theirs["metadata"]["ownerReferences"][0]["uid"] = "somebody"
    assert has_ingress(world(older, Rival(younger, theirs)))


@pytest.mark.parametrize(
    ("other", "controller", "taken"),
    [
        (model("o", EARLY, path="/v1/"), MERGES, True),
        (model("o", EARLY, path="/v2"), MERGES, False),
        (model("o", EARLY, path="/v1/chat"), MERGES, False),
        (model("o", EARLY, path="/v2"), WHOLE, True),
        (model("o", EARLY, className="other"), MERGES, False),
        ({**model("o", EARLY), "spec": {"model": {"uri": ""}}}, MERGES, False),
        (resource(), MERGES, False),
    ],
)
def test_a_host_is_taken_where_nginx_can_give_it_to_one_only(other: Object, controller: str, taken: bool) -> None:
    found = verdict(world(model("m", LATE), Rival(other), controller=controller), "Ingress")
    assert found == (("False", "HostTaken") if taken else ("True", "Written"))


def test_one_that_goes_or_may_not_have_the_host_takes_it_from_nobody() -> None:
    going = model("o", EARLY)
    going["metadata"]["deletionTimestamp"] = LATE
    assert has_ingress(world(model("m", LATE), Rival(going)))
    own_hosts = IngressRules(("{namespace}.example.com",))
    mine = model("m", LATE, host="ns.example.com")
    strangers = model("o", EARLY, namespace="other", host="ns.example.com")
    assert has_ingress(world(mine, Rival(strangers), ingress_rules=own_hosts))


def test_a_controller_that_is_not_known_gets_an_ingress_without_annotations_and_is_said() -> None:
    seen = world(model("m", EARLY), controller="example.com/proxy")
    made = next(obj for obj in planned(seen).objects if obj["kind"] == "Ingress")
    assert set(made["metadata"]["annotations"]) == {"pagoda.dev/applied-hash"}
    assert verdict(seen, "Ingress") == ("True", "UnknownController") and "example.com/proxy" in str(
        condition(seen, "Ingress")["message"]
    )
