"""A model that answers is Ready, and the reason of that does not hide what is wrong with the rest of it."""

from typing import Any

import pytest

from pagoda_operator.plan import Refusal, World, world_of
from tests.doubles.snapshots import (
    CRASHED,
    CRASHING,
    NO_GPU,
    UNPULLED,
    applied,
    condition,
    deployment_of,
    planned,
    pod,
    resource,
    revision_in,
    unschedulable,
    verdict,
)

REFUSED_FETCH = {"exitCode": 1, "message": "ModelNotFound: no such repository"}
NOT_FETCHED = {"initContainerStatuses": [{"name": "fetch", "state": {"terminated": REFUSED_FETCH}}]}
AFFINITY = "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector."


def rolling(*pods: dict[str, Any], replicas: int = 1, updated: int = 1, **seen: Any) -> World:
    """Pods whose revision is "new" have that of the Deployment."""
    raw = resource(replicas=replicas)
    children = applied(raw)
    deployment_of(children)["status"] = {"replicas": len(pods), "updatedReplicas": updated}
    for found in pods:
        labels = found["metadata"]["labels"]
        if labels["pagoda.dev/revision"] == "new":
            labels["pagoda.dev/revision"] = revision_in(children)
    return world_of(raw, children=children, pods=pods, **seen)


OLD = ("m-old", "old")
NEW = ("m-new", "new")


@pytest.mark.parametrize(
    ("failing", "reason", "said"),
    [
        (
            pod(*NEW, **CRASHING),
            "CrashLooping",
            "CrashLooping: server of m-new ended 3 times, last with exit code 1: boom",
        ),
        (pod(*NEW, **UNPULLED), "ImagePullFailed", "ImagePullFailed: server of m-new: no such tag"),
        (pod(*NEW, status=NOT_FETCHED), "ModelNotFound", "ModelNotFound: no such repository"),
        (pod(*NEW, status=unschedulable(AFFINITY)), "Unschedulable", "node affinity"),
    ],
)
def test_a_revision_that_fails_beside_one_that_serves_is_said(failing: dict[str, Any], reason: str, said: str) -> None:
    world = rolling(pod(*OLD, ready=True), failing)
    ready = condition(world, "Ready")
    assert (ready["status"], ready["reason"]) == ("True", "RolloutFailing")
    assert "1 replica serves with an older revision" in ready["message"] and said in ready["message"]
    assert verdict(world, "PodsReady") == ("False", reason), "though as many are ready as are wanted"
    warnings = [(event.type, event.reason) for event in planned(world).events if event.type == "Warning"]
    assert warnings == [("Warning", "RolloutFailing")], "told once"


def test_the_message_ends_with_the_next_step() -> None:
    message = condition(rolling(pod(*OLD, ready=True), pod(*NEW, **CRASHING)), "Ready")["message"]
    assert message.endswith("boom. Read the last line of its log in the message, or kubectl logs -p.")


def test_a_pod_that_waits_for_the_gpu_of_the_one_it_replaces_fails_nothing() -> None:
    world = rolling(pod(*OLD, ready=True), pod(*NEW, status=unschedulable(NO_GPU)))
    assert verdict(world) == ("True", "Serving")
    assert verdict(world, "Progressing") == ("True", "NoSurgeCapacity")


def test_a_replica_that_fails_among_others_of_its_revision_degrades_the_model() -> None:
    world = rolling(pod("m-1", "new", ready=True), pod("m-2", "new", **CRASHING), replicas=2, updated=2)
    assert verdict(world) == ("True", "Degraded")
    assert "1 of 2 replicas are ready: CrashLooping: server of m-2" in condition(world, "Ready")["message"]
    assert verdict(world, "PodsReady") == ("False", "CrashLooping")


def test_an_old_replica_that_fails_while_the_new_ones_start_is_no_failing_rollout() -> None:
    world = rolling(pod("m-1", "old", ready=True), pod("m-2", "old", **CRASHING), pod("m-3", "new"), replicas=2)
    assert verdict(world) == ("True", "Degraded")


@pytest.mark.parametrize(
    ("finished_at", "restarts", "ready", "pods_ready"),
    [
        ("2026-01-01T23:58:00Z", 2, ("True", "Degraded"), ("False", "CrashLooping")),
        ("2026-01-01T23:58:00Z", 1, ("True", "Serving"), ("True", "AllReady")),
        ("2026-01-01T23:49:00Z", 9, ("True", "Serving"), ("True", "AllReady")),
        ("no time", 9, ("True", "Serving"), ("True", "AllReady")),
    ],
)
def test_a_container_that_is_ready_between_two_crashes_loops_until_it_has_run_for_ten_minutes(
    finished_at: str, restarts: int, ready: tuple[str, str], pods_ready: tuple[str, str]
) -> None:
    last = {"terminated": {**CRASHED["terminated"], "finishedAt": finished_at}}
    running = {"running": {"startedAt": "2026-01-01T23:58:10Z"}}
    found = pod(*NEW, ready=True, restartCount=restarts, state=running, lastState=last)
    world = rolling(found)
    assert (verdict(world), verdict(world, "PodsReady")) == (ready, pods_ready)


@pytest.mark.parametrize("over", [{"deletionTimestamp": "2026-01-01T00:00:00Z"}, {}])
def test_a_pod_that_goes_or_is_over_fails_nothing(over: dict[str, Any]) -> None:
    evicted = pod("m-2", "new", status={} if over else {"phase": "Failed"}, **CRASHING)
    evicted["metadata"] |= over
    world = rolling(pod("m-1", "new", ready=True), evicted)
    assert (verdict(world), verdict(world, "PodsReady")) == (("True", "Serving"), ("True", "AllReady"))
    assert planned(world).status["replicas"] == 1


@pytest.mark.parametrize(("kind", "reason"), [("Deployment", "RolloutFailing"), ("NetworkPolicy", "Degraded")])
def test_an_object_that_is_refused_beside_pods_that_serve_is_said(kind: str, reason: str) -> None:
    world = rolling(pod(*NEW, ready=True), refusals=(Refusal(kind, "m", "422: no"),))
    assert verdict(world) == ("True", reason)
    assert f"ApplyFailed: {kind} m: 422: no" in condition(world, "Ready")["message"]


def test_a_rollout_past_its_deadline_fails_though_its_pods_only_start() -> None:
    world = rolling(pod(*OLD, ready=True), pod(*NEW))
    live = world.child("Deployment")
    assert live is not None and verdict(world) == ("True", "Serving")
    live["status"]["conditions"] = [{"type": "Progressing", "status": "False"}]
    assert verdict(world) == ("True", "RolloutFailing")


def test_pods_without_a_label_are_of_a_template_without_one() -> None:
    """As release 0.1.0 made them; the template is kept as it is."""
    raw = resource(replicas=2)
    children = applied(raw)
    del deployment_of(children)["spec"]["template"]["metadata"]["labels"]["pagoda.dev/revision"]
    pods = [pod("m-1", "", ready=True), pod("m-2", "", **CRASHING)]
    for found in pods:
        del found["metadata"]["labels"]
    assert verdict(world_of(raw, children=children, pods=pods)) == ("True", "Degraded")
