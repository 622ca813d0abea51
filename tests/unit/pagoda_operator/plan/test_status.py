"""The figures of the status, which the columns of `kubectl get` show."""

from pagoda_operator.plan import world_of
from tests.doubles.snapshots import applied, deployment_of, planned, pod, resource, revision_in

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
