"""Load raises the demand in tokens per second; the real HPA controller scales 1 → 3, and back when the load is gone."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

LOAD = str(Path(__file__).parents[1] / "load.py")
HOST = "autoscaled.example.com"
QUICK = {
    "scaleUp": {"stabilizationWindowSeconds": 0},
    "scaleDown": {
        "stabilizationWindowSeconds": 10,
        "policies": [{"type": "Percent", "value": 100, "periodSeconds": 5}],
    },
}


def ready(namespace: Any) -> int:
    return int(namespace.model("autoscaled").get("status", {}).get("readyReplicas", 0))


def tell(namespace: Any) -> str:
    return str(
        namespace.kubectl("get", "hpa,modeldeployment,pods", "-o", "wide") + namespace.kubectl("describe", "hpa")
    )


def test_one_three_one_on_tokens_per_second(namespace: Any, wait_for: Any) -> None:
    autoscaling = {"minReplicas": 1, "maxReplicas": 3, "targetUtilization": 0.05, "behavior": QUICK}
    namespace.apply("autoscaled", autoscaling=autoscaling, ingress={"host": HOST, "className": "nginx"})
    namespace.wait_ready("autoscaled")
    assert namespace.model("autoscaled")["status"]["capacity"]["source"] == "measured"
    wait_for(lambda: namespace.condition("autoscaled", "Scaling")["status"] == "True", 60, lambda: tell(namespace))
    url = f"{namespace.cluster.ingress_url}/v1"
    look = (
        "curl",
        "-s",
        "--noproxy",
        "*",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        "-H",
        f"Host: {HOST}",
        f"{url}/models",
    )
    wait_for(lambda: namespace.cluster.run(*look) == "200", 30, "nginx has taken the Ingress up")
    arguments = [url, "--host", HOST, "--model", "autoscaled", "--streams", "8", "--seconds", "75"]
    load = subprocess.Popen(
        [*namespace.cluster.enter, sys.executable, LOAD, *arguments], stdout=subprocess.PIPE, text=True
    )
    try:
        wait_for(lambda: ready(namespace) == 3, 120, lambda: tell(namespace))
        out, _ = load.communicate(timeout=120)
    finally:
        load.kill()
    seen = json.loads(out)
    print(seen)
    assert seen["whole"] > 0 and seen["cut"] == seen["failed"] == 0, seen
    wait_for(lambda: ready(namespace) == 1 and len(namespace.pods("autoscaled")) == 1, 180, lambda: tell(namespace))
