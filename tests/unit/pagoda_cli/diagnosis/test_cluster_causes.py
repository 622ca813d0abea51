"""What is wrong with Pagoda itself is named, with what brings it back."""

from datetime import timedelta
from typing import Any

import pytest

from pagoda_cli.diagnosis.cluster_causes import find_cluster_causes
from pagoda_cli.diagnosis.observed import Surroundings
from tests.doubles.observed_models import NOW


def lease(holder: str, seconds_ago: float) -> dict[str, Any]:
    return {"spec": {"holderIdentity": holder, "renewTime": (NOW - timedelta(seconds=seconds_ago)).isoformat()}}


OPERATOR = {"metadata": {"name": "pagoda-1", "namespace": "pagoda-system"}}
AROUND = [
    (Surroundings(is_installed=False), "CrdMissing"),
    (Surroundings(unknown_fields=("spec.engine.new",)), "CrdOld"),
    (Surroundings(is_lease_read=True, operator_pods=()), "OperatorDown"),
    (Surroundings(is_lease_read=True, lease=lease("a", 90), operator_pods=(OPERATOR,)), "OperatorDown"),
    (Surroundings(is_lease_read=True, lease=lease("", 1), operator_pods=(OPERATOR,)), "OperatorDown"),
    (Surroundings(is_lease_read=True, lease=lease("a", 2)), None),
    (Surroundings(is_lease_read=False), None),
]


@pytest.mark.parametrize(("around", "reason"), AROUND)
def test_what_all_models_need_is_judged_where_it_could_be_read(around: Surroundings, reason: str | None) -> None:
    assert [cause.reason for cause in find_cluster_causes(around, NOW)] == ([reason] if reason else [])


def build_operator(replicas: int) -> dict[str, Any]:
    return {"metadata": {"name": "pagoda", "namespace": "serving"}, "spec": {"replicas": replicas}}


def test_an_operator_that_is_scaled_to_zero_is_scaled_up() -> None:
    around = Surroundings(is_lease_read=True, operator_pods=(), operator_deployments=(build_operator(0),))
    (cause,) = find_cluster_causes(around, NOW)
    assert cause.evidence == ("Deployment serving/pagoda is scaled to 0",)
    assert cause.steps[0] == "kubectl -n serving scale deployment pagoda --replicas=1"


def test_an_operator_without_pods_is_looked_for_in_its_deployment() -> None:
    around = Surroundings(is_lease_read=True, operator_pods=(), operator_deployments=(build_operator(1),))
    (cause,) = find_cluster_causes(around, NOW)
    assert cause.steps[0] == "kubectl -n serving describe deployment pagoda"


def test_an_operator_that_crashes_shows_its_end_and_its_last_log() -> None:
    ended = {"terminated": {"exitCode": 1, "reason": "Error", "message": "no rights"}}
    container = {"name": "operator", "restartCount": 4, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
    pod = {**OPERATOR, "status": {"containerStatuses": [{**container, "lastState": ended}]}}
    (cause,) = find_cluster_causes(Surroundings(is_lease_read=True, operator_pods=(pod,)), NOW)
    assert cause.evidence == (
        "pod pagoda-system/pagoda-1: CrashLoopBackOff, not ready",
        "pod pagoda-1, container operator: ended with exit code 1 (Error), 4 restarts: no rights",
    )
    assert cause.steps[0] == "kubectl -n pagoda-system logs pagoda-1 --previous"
