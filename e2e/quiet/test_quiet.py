"""Twenty resources, some of them broken, in five quiet minutes: the operator asks the API server to write nothing."""

import json
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

QUIET_SECONDS = float(os.environ.get("QUIET_SECONDS", "300"))
SERVING = {"fixed": {}, "public": {"ingress": {"host": "quiet.example.com", "className": "nginx"}}}
SCALED = {"scaled": {"autoscaling": {"maxReplicas": 2}}}
BROKEN: dict[str, dict[str, Any]] = {
    "no-gpu": {"resources": {"gpus": 1, "gpuResource": "example.com/gpu"}},
    "no-class": {"replicas": 0, "ingress": {"host": "none.example.com", "className": "none"}},
    "no-storage": {"model": {"uri": "hf://org/weights", "cache": {"pvc": {"size": "1Gi"}}}},
    "no-secret": {"auth": {"apiKeysSecretRef": {"name": "none"}}},
    "no-node": {"replicas": 2, "scheduling": {"nodeSelector": {"example.com/none": "true"}}},
}


def writes(cluster: Any) -> Counter[str]:
    """The operator's writes so far, its Lease's renewals apart, from the API server's audit log."""
    log = Path(cluster.state) / "log" / "audit"
    seen: Counter[str] = Counter()
    for line in map(json.loads, log.read_text().splitlines()):
        resource = line["objectRef"]["resource"]
        if line["user"]["username"] == "system:serviceaccount:pagoda-system:pagoda" and resource != "leases":
            seen[f"{line['verb']} {resource} by {line['userAgent']}"] += 1
    return seen


@pytest.mark.full
def test_no_write_in_five_quiet_minutes(namespace: Any, wait_for: Any) -> None:
    cluster = namespace.cluster
    if not cluster.state:
        pytest.skip("only the rig's own API server has an audit log that can be read")
    idle = {f"idle-{number}": {"replicas": 0} for number in range(20 - len(SERVING | SCALED | BROKEN))}
    wanted = SERVING | SCALED | BROKEN | idle
    assert len(wanted) == 20
    for name, spec in wanted.items():
        namespace.apply(name, **spec)
    for name in SERVING | SCALED:
        namespace.wait_ready(name, timeout=300)
    wait_for(lambda: namespace.condition("scaled", "Scaling")["status"] == "True", 90, "the HPA has its metric")
    for name in BROKEN | idle:
        wait_for(lambda name=name: namespace.condition(name)["status"], 60, f"{name} has a condition")
    before = _settled(cluster)
    assert before["patch modeldeployments by pagoda-operator"] >= 20, "the audit log shows the operator's writes"
    time.sleep(QUIET_SECONDS)
    assert writes(cluster) - before == Counter()
    print(f"no write by the operator in {QUIET_SECONDS:g} s with {len(wanted)} resources; before: {dict(before)}")


def _settled(cluster: Any, *, seconds: float = 45, limit: float = 300) -> Counter[str]:
    """Waits until nothing was written for a while: rates fall to 0, pull back-offs end."""
    end, before, since = time.monotonic() + limit, writes(cluster), time.monotonic()
    while time.monotonic() - since < seconds:
        assert time.monotonic() < end, f"still writing after {limit:g} s: {before}"
        time.sleep(1)
        if (now := writes(cluster)) != before:
            before, since = now, time.monotonic()
    return before
