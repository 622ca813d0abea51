"""A person scales by hand, with kubectl scale, up and down again."""

from typing import Any


def test_one_three_one(namespace: Any, wait_for: Any) -> None:
    namespace.apply("scaled", replicas=1)
    namespace.wait_ready("scaled")
    first = namespace.pods("scaled")[0]["metadata"]["uid"]
    for wanted in (3, 1):
        namespace.kubectl("scale", "modeldeployment", "scaled", f"--replicas={wanted}")
        wait_for(
            lambda wanted=wanted: (
                namespace.model("scaled").get("status", {}).get("readyReplicas") == wanted
                and len(namespace.pods("scaled")) == wanted
            ),
            240,
            lambda wanted=wanted: f"{wanted} ready; status: {namespace.model('scaled').get('status')}",
        )
        if wanted == 3:
            assert first in [pod["metadata"]["uid"] for pod in namespace.pods("scaled")], "scaling up restarts no pod"
