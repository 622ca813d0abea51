"""Pods come and go under a load through nginx, and no answer is refused or cut."""

from typing import Any

HOST = "rollout.example.com"
SECONDS = 90


def uids(namespace: Any) -> set[str]:
    return {pod["metadata"]["uid"] for pod in namespace.pods("rollout")}


def are_new_and_ready(namespace: Any, before: set[str]) -> bool:
    return not uids(namespace) & before and namespace.ready_replicas("rollout") == 3


def test_no_answer_is_lost_when_pods_are_deleted_or_rolled_out(namespace: Any, wait_for: Any) -> None:
    spec: dict[str, Any] = {"replicas": 3, "ingress": {"host": HOST, "className": "nginx"}}
    namespace.apply("rollout", **spec)
    namespace.wait_ready("rollout")
    wait_for(lambda: namespace.ready_replicas("rollout") == 3, 120, lambda: namespace.kubectl("get", "pods"))
    namespace.wait_routed(HOST)
    with namespace.streaming("rollout", HOST, streams=4, seconds=SECONDS) as load:
        two = [pod["metadata"]["name"] for pod in namespace.pods("rollout")[:2]]
        namespace.kubectl("delete", "pods", *two, "--wait=false")
        wait_for(
            lambda: len(namespace.pods("rollout")) == 3 == namespace.ready_replicas("rollout"),
            120,
            lambda: namespace.kubectl("get", "pods"),
        )
        before = uids(namespace)
        namespace.apply("rollout", **spec, queue={"maxQueued": 200})
        wait_for(lambda: are_new_and_ready(namespace, before), 240, lambda: namespace.kubectl("get", "pods"))
        counts = load.wait_counts()
    told = namespace.told("rollout")
    assert told.count(("Normal", "RolloutStarted")) == 1 and ("Normal", "RolloutComplete") in told, told
    assert counts["whole"] > 0 and counts["cut"] == counts["failed"] == 0, counts
