"""The figures of the status, which the columns of `kubectl get` show.

A start's measurement only raises the capacity; what full pods observe moves it both ways.
"""

from datetime import UTC, datetime
from typing import Any

import pytest

from pagoda_operator.plan import world_of
from pagoda_operator.plan.loads import Load
from pagoda_operator.plan.revision import capacity_key
from pagoda_operator.plan.status import plan_capacity
from tests.doubles.snapshots import applied, deployment_of, planned, pod, resource, revision_in

NOW = datetime(2026, 1, 2, tzinfo=UTC)
CLASS = {"metadata": {"name": "nginx"}, "spec": {"controller": "k8s.io/ingress-nginx"}}


def test_replicas_are_those_that_are_ready_of_those_that_are_wanted() -> None:
    raw = resource(replicas=2)
    children = applied(raw)
    deployment_of(children)["status"] = {"replicas": 2, "updatedReplicas": 1}
    pods = [pod("m-1", "a", ready=True), pod("m-2", "a")]
    status = planned(world_of(raw, children=children, pods=pods)).status
    found = {key: status[key] for key in ("replicas", "readyReplicas", "wantedReplicas", "updatedReplicas", "gpus")}
    assert found == {"replicas": 2, "readyReplicas": 1, "wantedReplicas": 2, "updatedReplicas": 1, "gpus": 2}
    assert status["readyOfWanted"] == "1/2"


def test_the_gpus_are_those_of_the_resource_that_is_asked_for() -> None:
    other = resource(resources={"gpuResource": "example.com/gpu"})
    assert planned(world_of(other, pods=[pod("m-1", "a")])).status["gpus"] == 0


def test_a_revision_is_complete_when_every_replica_has_it_and_stays_so_while_replicas_come() -> None:
    raw = resource()
    first = planned(world_of(raw)).status
    assert "completeRevision" not in first
    children = applied(raw)
    deployment_of(children)["status"] = {"replicas": 1, "updatedReplicas": 1}
    ready = [pod("m-1", revision_in(children), ready=True)]
    done = planned(world_of(resource(first), children=children, pods=ready)).status
    assert done["completeRevision"] == done["revision"] == revision_in(children)
    more = planned(world_of(resource(done, replicas=2), children=children, pods=ready)).status
    assert more["completeRevision"] == done["completeRevision"]
    other = planned(world_of(resource(done, engine={"maxNumSeqs": 8}), children=children, pods=ready)).status
    assert other["revision"] != done["revision"] and "completeRevision" not in other


def test_the_url_is_the_services_where_no_ingress_is_written() -> None:
    raw = resource(ingress={"host": "a.example.com", "className": "other"})
    assert planned(world_of(raw, ingress_classes=(CLASS,))).status["url"] == "http://m.ns.svc:8000/v1"


def test_a_resource_that_breaks_the_rules_keeps_what_was_said_of_its_objects() -> None:
    done = planned(world_of(resource())).status
    status = planned(world_of(resource(done, replicas=-1), pods=[pod("m-1", "a", ready=True)])).status
    kept = {key: status.get(key) for key in ("revision", "url", "selector", "wantedReplicas")}
    assert kept == {key: done[key] for key in kept}
    assert (done["readyOfWanted"], status["readyOfWanted"]) == ("0/1", "1/1")


def find_capacity(before: tuple[float, str], new: tuple[float, str], *, other_key: bool = False) -> tuple[Any, Any]:
    spec: dict[str, Any] = {"model": {"uri": "bundled://pagoda-tiny"}}
    raw = {
        "apiVersion": "pagoda.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": "chat", "namespace": "team", "uid": "u", "generation": 1},
        "spec": spec,
    }
    mdep = world_of(raw).mdep
    assert mdep is not None
    key = "another" if other_key else capacity_key(mdep)
    figure = {"tokensPerSecond": before[0], "source": before[1], "measuredAt": "2026-01-01T00:00:00Z", "key": key}
    world = world_of({**raw, "status": {"capacity": figure}}, load=Load(1.0, 1.0, *new))
    capacity = plan_capacity(world, mdep, NOW)
    assert capacity is not None
    return capacity["tokensPerSecond"], capacity["source"]


@pytest.mark.parametrize("source", ["measured", "observed"])
def test_a_pod_that_starts_on_a_busy_node_does_not_lower_the_capacity(source: str) -> None:
    assert find_capacity((1589.0, source), (18.0, "measured")) == (1589.0, source)


@pytest.mark.parametrize("source", ["measured", "observed"])
def test_a_faster_start_raises_it(source: str) -> None:
    assert find_capacity((18.0, source), (1589.0, "measured")) == (1589.0, "measured")


@pytest.mark.parametrize("rate", [700.0, 2000.0])
def test_full_pods_move_it_both_ways(rate: float) -> None:
    assert find_capacity((1589.0, "measured"), (rate, "observed")) == (rate, "observed")


def test_another_model_or_hardware_begins_anew() -> None:
    assert find_capacity((1589.0, "observed"), (18.0, "measured"), other_key=True) == (18.0, "measured")
