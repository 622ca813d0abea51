"""Each transition is told once, as what it is, and nothing is told at rest."""

from datetime import timedelta
from typing import Any

import pytest

from pagoda_operator.objects.settings import IngressRules
from pagoda_operator.plan import Load, World, plan, world_of
from tests.doubles.snapshots import (
    CRASHING,
    NOW,
    SETTINGS,
    UNPULLED,
    Object,
    applied,
    deployment_of,
    pod,
    resource,
    revision_in,
)

FETCHED = {"initContainerStatuses": [{"name": "fetch", "state": {"terminated": {"exitCode": 0}}}]}


class Story:
    """One ModelDeployment through time: its status is that of the reconcile before."""

    def __init__(self, **spec: Any) -> None:
        self.said: dict[str, str] = {}
        self.spec, self.now = spec, NOW
        self.status: Object = {}
        self.seen: dict[str, Any] = {}
        self.children: list[Object] = []

    def world(self, *pods: Object) -> World:
        raw = resource(self.status, **self.spec)
        return world_of(raw, children=self.children, pods=pods, **self.seen)

    def tell(self, *pods: Object, updated: int | None = None) -> list[tuple[str, str]]:
        """What one reconcile tells of these pods; its objects are there at the next one."""
        if self.children:
            count = len(pods) if updated is None else updated
            deployment_of(self.children)["status"] = {"replicas": len(pods), "updatedReplicas": count}
        found = plan(self.world(*pods), self.now, SETTINGS)
        self.status, self.now = found.status, self.now + timedelta(seconds=30)
        paused = deployment_of(self.children)["spec"].get("paused") if self.children else None
        self.children = applied(resource(self.status, **self.spec), **self.seen)
        if paused is not None:
            deployment_of(self.children)["spec"]["paused"] = paused
        self.said = {event.reason: event.message for event in found.events}
        return [(event.type, event.reason) for event in found.events]

    def served(self) -> list[Object]:
        """Tells the start; gives the pods that serve now."""
        self.tell()
        pods = [pod("m-1", revision_in(self.children), ready=True, status=FETCHED)]
        self.tell(*pods)
        assert self.tell(*pods) == []
        return pods


def test_a_start_is_told_step_by_step_and_nothing_twice() -> None:
    story = Story()
    assert story.tell() == [("Normal", "Starting")]
    revision = revision_in(story.children)
    assert story.tell(pod("m-1", revision, status=FETCHED)) == [("Normal", "Fetched")]
    assert story.tell(pod("m-1", revision, status=FETCHED)) == []
    ready = pod("m-1", revision, ready=True, status=FETCHED)
    assert story.tell(ready) == [("Normal", "Serving"), ("Normal", "RolloutComplete")]
    assert story.tell(ready) == []


def test_a_rollout_is_told_when_it_begins_when_it_fails_and_when_it_is_over() -> None:
    story = Story()
    (old,) = story.served()
    before = revision_in(story.children)
    story.spec = {"engine": {"maxNumSeqs": 8}}
    assert story.tell(old) == [("Normal", "RolloutStarted")]
    after = revision_in(story.children)
    assert story.said["RolloutStarted"] == f"from revision {before} to {after}"
    assert story.tell(old, pod("m-2", after), updated=1) == []
    assert story.tell(old, pod("m-2", after, **CRASHING), updated=1) == [("Warning", "RolloutFailing")]
    assert story.tell(old, pod("m-2", after, **CRASHING), updated=1) == []
    assert story.tell(old, pod("m-2", after, **UNPULLED), updated=1) == [("Warning", "ImagePullFailed")]
    assert story.tell(old, pod("m-2", after), updated=1) == [("Normal", "Serving")]
    new = pod("m-2", after, ready=True, status=FETCHED)
    assert story.tell(new) == [("Normal", "RolloutComplete")]
    assert story.said["RolloutComplete"] == f"every replica has revision {after}"
    assert story.tell(new) == []


def test_a_revert_is_a_rollout_that_is_over_again() -> None:
    story = Story()
    (old,) = story.served()
    story.spec = {"engine": {"maxNumSeqs": 8}}
    story.tell(old)
    story.spec = {}
    assert story.tell(old, updated=0) == [("Normal", "RolloutStarted")]
    assert story.tell(old) == [("Normal", "RolloutComplete")]


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ({"replicas": 1}, {"replicas": 3}, "from 1 to 3 replicas, by spec.replicas"),
        ({}, {"autoscaling": {"minReplicas": 2, "maxReplicas": 4}}, "from 1 to 2 replicas, by the HPA"),
    ],
)
def test_a_scale_is_told_with_its_numbers_and_who_asked(before: Object, after: Object, said: str) -> None:
    story = Story(**before)
    pods = story.served()
    story.spec = after
    assert ("Normal", "Scaled") in story.tell(*pods)
    assert story.said["Scaled"] == said
    story.tell(*pods)
    assert "Scaled" not in story.said


def test_replicas_that_come_complete_no_rollout_anew() -> None:
    story = Story(replicas=1)
    (first,) = story.served()
    story.spec = {"replicas": 2}
    assert story.tell(first) == [("Normal", "Scaled")]
    second = pod("m-2", revision_in(story.children), ready=True)
    assert story.tell(first, second) == []


def test_a_pause_and_its_end_are_told() -> None:
    story = Story()
    pods = story.served()
    deployment_of(story.children)["spec"]["paused"] = True
    assert story.tell(*pods) == [("Normal", "Paused")]
    assert story.tell(*pods) == []
    deployment_of(story.children)["spec"]["paused"] = False
    assert story.tell(*pods) == [("Normal", "Resumed")]


@pytest.mark.parametrize(
    ("controller", "told"),
    [("k8s.io/ingress-nginx", ("Normal", "Written")), ("example.com/proxy", ("Warning", "UnknownController"))],
)
def test_an_ingress_that_is_written_is_told(controller: str, told: tuple[str, str]) -> None:
    story = Story(ingress={"host": "a.example.com"})
    offered = {"metadata": {"name": "nginx"}, "spec": {"controller": controller}}
    story.seen = {"ingress_classes": (offered,), "ingress_rules": IngressRules(("*",))}
    assert told in story.tell()
    assert told not in story.tell()


def test_a_capacity_is_told_when_it_is_known_and_not_when_it_is_corrected_by_a_little() -> None:
    story = Story()
    pods = story.served()
    story.seen["load"] = Load(10.0, 12.0, 2400.0, "measured")
    assert story.tell(*pods) == [("Normal", "CapacityMeasured")]
    assert story.said["CapacityMeasured"] == "a replica serves 2400 tokens per second (measured)"
    story.seen["load"] = Load(10.0, 12.0, 2900.0, "measured")
    assert story.tell(*pods) == []
    story.seen["load"] = Load(10.0, 12.0, 2000.0, "observed")
    assert story.tell(*pods) == [("Normal", "CapacityMeasured")]
    story.seen["load"] = Load(10.0, 12.0, 1500.0, "observed")
    assert story.tell(*pods) == []


def test_a_status_of_release_0_1_0_that_was_complete_tells_nothing() -> None:
    story = Story()
    pods = story.served()
    for later in ("completeRevision", "wantedReplicas", "readyOfWanted", "updatedReplicas", "gpus"):
        del story.status[later]
    assert story.tell(*pods) == []
    assert story.status["completeRevision"] == story.status["revision"]
