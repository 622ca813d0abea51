"""What the API server adds is no drift; what somebody changed is. What belongs to someone else is not ours."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagoda_operator.plan import find_foreign, needs_apply, project
from pagoda_operator.plan.hashing import with_hash
from pagoda_operator.plan.ownership import can_adopt

DESIRED = with_hash(
    {
        "kind": "Deployment",
        "metadata": {"name": "m"},
        "spec": {"paused": False, "cpu": "1000m", "egress": [], "containers": [{"name": "a", "image": "x"}]},
    }
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def served(**spec: Any) -> dict[str, Any]:
    """The object as the API server gives it back: defaulted, canonical, without what is empty."""
    container = {"name": "a", "image": "x", "pullPolicy": "IfNotPresent"}
    given = {"paused": False, "cpu": "1", "containers": [container], "strategy": {}}
    return {**DESIRED, "metadata": {**DESIRED["metadata"], "uid": "u"}, "spec": given | spec}


def test_what_the_api_server_made_of_it_is_no_drift() -> None:
    accepted = project(DESIRED, served())
    assert not needs_apply(DESIRED, served(), accepted=accepted)
    assert not needs_apply(DESIRED, served(cpu="1000m"))


def test_the_same_quantity_in_another_form_is_no_drift_even_without_a_memory() -> None:
    assert not needs_apply(DESIRED, served())
    assert needs_apply(DESIRED, served(cpu="1001m"))


@pytest.mark.parametrize(
    "changed",
    [{"paused": True}, {"cpu": "2"}, {"containers": []}, {"containers": [{"name": "a", "image": "y"}]}],
)
def test_what_somebody_changed_is_drift(changed: dict[str, Any]) -> None:
    assert needs_apply(DESIRED, served(**changed), accepted=project(DESIRED, served()))


OWNED = with_hash(
    {
        "kind": "Deployment",
        "metadata": {"name": "m", "labels": {"a": "b"}},
        "spec": {
            "selector": {"matchLabels": {"a": "b"}},
            "template": {
                "metadata": {"labels": {"a": "b"}},
                "spec": {
                    "nodeSelector": {"pool": "gpu"},
                    "initContainers": [{"name": "gateway", "image": "x"}],
                    "containers": [{"name": "server", "image": "y", "env": [{"name": "A", "value": "1"}]}],
                },
            },
        },
    }
)
POD = ("spec", "template", "spec")


@pytest.mark.parametrize(
    ("place", "key", "added", "path"),
    [
        (("spec", "selector"), "matchExpressions", [], ("spec", "selector", "matchExpressions")),
        (("spec", "selector", "matchLabels"), "c", "d", ("spec", "selector", "matchLabels", "c")),
        ((*POD, "nodeSelector"), "zone", "a", (*POD, "nodeSelector", "zone")),
        ((*POD, "containers", 0, "env"), None, {"name": "B"}, (*POD, "containers", 0, "env", 0)),
        ((*POD, "containers"), None, {"name": "spy"}, (*POD, "containers", 0)),
        ((*POD, "initContainers", 0), "env", [{"name": "B"}], (*POD, "initContainers", 0, "env")),
        ((*POD, "containers", 0), "args", ["x"], (*POD, "containers", 0, "args")),
    ],
)
def test_what_is_added_where_all_is_ours_is_found(
    place: tuple[str | int, ...], key: str | None, added: Any, path: tuple[str | int, ...]
) -> None:
    live = copy.deepcopy(OWNED)
    at: Any = live
    for step in place:
        at = at[step]
    if key is None:
        at.insert(0, added)
    else:
        at[key] = added
    assert find_foreign(OWNED, live) == [path]
    assert needs_apply(OWNED, live, accepted=project(OWNED, live))


def test_labels_annotations_and_fields_of_others_are_left_alone() -> None:
    live = copy.deepcopy(OWNED)
    live["metadata"]["labels"]["team"] = "a"
    live["spec"]["template"]["metadata"] |= {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}
    live["spec"]["template"]["metadata"]["labels"]["team"] = "a"
    live["spec"]["template"]["spec"] |= {"tolerations": [{"operator": "Exists"}], "dnsPolicy": "ClusterFirst"}
    assert not needs_apply(OWNED, live)


def test_fields_of_others_are_no_drift() -> None:
    assert not needs_apply(DESIRED, served(replicas=7), accepted=project(DESIRED, served()))


def test_another_wish_is_applied_even_where_the_values_agree() -> None:
    fewer = with_hash({**DESIRED, "metadata": {"name": "m"}, "spec": {"paused": False}})
    assert needs_apply(fewer, served(), accepted=project(DESIRED, served()))


@given(json_values)
def test_a_value_speaks_of_itself(value: Any) -> None:
    assert project(value, value) == value


def owned(uid: str = "", **labels: str) -> dict[str, Any]:
    owners = [{"uid": uid, "controller": True}] if uid else []
    return {"metadata": {"ownerReferences": owners, "labels": labels}}


OUR_LABELS = {"pagoda.dev/model-deployment": "m", "app.kubernetes.io/managed-by": "pagoda"}


@pytest.mark.parametrize(
    ("obj", "ours"),
    [
        (owned("u1"), True),
        (owned("u2"), False),
        (owned("u2", **OUR_LABELS), False),
        (owned(**OUR_LABELS), True),
        (owned(), False),
        (owned(**{**OUR_LABELS, "pagoda.dev/model-deployment": "other"}), False),
    ],
)
def test_only_our_own_and_orphans_of_our_name_are_taken(obj: dict[str, Any], ours: bool) -> None:
    assert can_adopt(obj, name="m", uid="u1") is ours
