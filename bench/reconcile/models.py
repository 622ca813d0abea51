"""What many ModelDeployments cost the operator: `python -m bench models 1000`.

A real API server without nodes, and one operator: all are applied at once, then the operator is started anew. Of each
run the seconds until all statuses are current, the operator's writes and the maximum of its memory. The range of
addresses there holds 253 Services: beyond that every model has a status still, but no Service.
"""

import argparse
import json
import re
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.controlplane.plane import ControlPlane, running_control_plane

NAMESPACE = "bench"
A_LIST = 100
"""Models that one call of kubectl applies."""
LOOK_SECONDS = 5.0
QUIET_SECONDS = 20.0
"""Without a write: the operator has done all that it has to."""
LIMIT_SECONDS = 1200.0
A_LINE = "{.metadata.generation}={.status.observedGeneration} {.status.conditions[0].type}{'\\n'}"
CURRENT = f"jsonpath={{range .items[*]}}{A_LINE}{{end}}"


def build_model(number: int) -> dict[str, Any]:
    """Gives every second one an HPA."""
    scaled = {"autoscaling": {"maxReplicas": 3, "tokensPerSecond": 100}}
    return {
        "apiVersion": "pagoda.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": f"model-{number}", "namespace": NAMESPACE},
        "spec": {"model": {"uri": "hf://org/weights"}, **(scaled if number % 2 else {"replicas": 2})},
    }


def count_current(plane: ControlPlane) -> int:
    told = plane.kubectl("-n", NAMESPACE, "get", "mdep", "-o", CURRENT).splitlines()
    return sum(bool(re.fullmatch(r"(\d+)=\1 \w+", line)) for line in told)


def wait_current(plane: ControlPlane, count: int) -> None:
    end = time.monotonic() + LIMIT_SECONDS
    while (current := count_current(plane)) < count:
        print(f"{current} of {count} are current", flush=True)
        if time.monotonic() > end:
            raise SystemExit(f"after {LIMIT_SECONDS:g} s only {current} of {count} are current")
        time.sleep(LOOK_SECONDS)


def wait_quiet(plane: ControlPlane) -> None:
    end, seen, since = time.monotonic() + LIMIT_SECONDS, len(plane.writes()), time.monotonic()
    while time.monotonic() - since < QUIET_SECONDS:
        if time.monotonic() > end:
            raise SystemExit(f"still writing after {LIMIT_SECONDS:g} s")
        time.sleep(LOOK_SECONDS)
        if (now := len(plane.writes())) != seen:
            seen, since = now, time.monotonic()


def read_peak_mib(pid: int) -> float:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return round(int(found[1]) / 1024, 1)


def count_by_kind(writes: Sequence[str]) -> dict[str, int]:
    """Counts `PATCH /apis/apps/v1/namespaces/n/deployments/m` as `PATCH deployments`."""
    kinds = Counter[str]()
    for line in writes:
        verb, path = line.split(" ", 1)
        parts = path.partition("?")[0].split("/")
        named = parts[parts.index("namespaces") + 2 :] if "namespaces" in parts else parts[-2:]
        kinds[f"{verb} {'/'.join([named[0], *named[2:]])}"] += 1
    return dict(kinds.most_common())


@contextmanager
def measured(plane: ControlPlane, name: str, count: int) -> Iterator[None]:
    before, begin = len(plane.writes()), time.monotonic()
    with plane.operator(name) as process:
        yield
        wait_current(plane, count)
        seconds = time.monotonic() - begin
        wait_quiet(plane)
        told = {"run": name, "models": count, "seconds": round(seconds, 1), "peak_mib": read_peak_mib(process.pid)}
        writes = plane.writes()[before:]
        print(json.dumps({**told, "writes": len(writes), "by_kind": count_by_kind(writes)}), flush=True)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench models", description=__doc__)
    parser.add_argument("count", type=int)
    count = parser.parse_args(argv).count
    models = [build_model(number) for number in range(count)]
    try:
        with running_control_plane() as plane:
            plane.kubectl("create", "namespace", NAMESPACE)
            with measured(plane, "first", count):
                for start in range(0, count, A_LIST):
                    plane.apply(*models[start : start + A_LIST])
            with measured(plane, "again", count):
                pass
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"the control plane does not start (e2e/cluster/build.sh test builds it): {error}") from error
    return 0
