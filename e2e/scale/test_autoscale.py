"""Load raises the demand in tokens per second; the real HPA controller scales 1 → 3, and back when the load is gone."""

from typing import Any

HOST = "autoscaled.example.com"
QUICK = {
    "scaleUp": {"stabilizationWindowSeconds": 0},
    "scaleDown": {
        "stabilizationWindowSeconds": 10,
        "policies": [{"type": "Percent", "value": 100, "periodSeconds": 5}],
    },
}


def tell(namespace: Any) -> str:
    return str(
        namespace.kubectl("get", "hpa,modeldeployment,pods", "-o", "wide") + namespace.kubectl("describe", "hpa")
    )


def test_one_three_one_on_tokens_per_second(namespace: Any, wait_for: Any) -> None:
    autoscaling = {"minReplicas": 1, "maxReplicas": 3, "targetUtilization": 0.05, "behavior": QUICK}
    namespace.apply("autoscaled", autoscaling=autoscaling, ingress={"host": HOST, "className": "nginx"})
    namespace.wait_ready("autoscaled")
    wait_for(lambda: "capacity" in namespace.model("autoscaled")["status"], 15, lambda: tell(namespace))
    assert namespace.model("autoscaled")["status"]["capacity"]["source"] == "measured"
    wait_for(lambda: namespace.condition("autoscaled", "Scaling")["status"] == "True", 60, lambda: tell(namespace))
    namespace.wait_routed(HOST)
    with namespace.streaming("autoscaled", HOST, streams=8, seconds=75) as load:
        wait_for(lambda: namespace.ready_replicas("autoscaled") == 3, 120, lambda: tell(namespace))
        seen = load.wait_counts()
    assert seen["whole"] > 0 and seen["cut"] == seen["failed"] == 0, seen
    pods = namespace.pods
    wait_for(
        lambda: len(pods("autoscaled")) == 1 == namespace.ready_replicas("autoscaled"), 180, lambda: tell(namespace)
    )
