"""Each object is written by itself, by the leader only, on what it planned on; and the status always says the rest."""

from collections.abc import Callable
from typing import Any

import pytest

from pagoda_operator.cluster.client import ApiError
from pagoda_operator.controller.attempts import Attempts
from pagoda_operator.controller.reconcile import Reconciler
from pagoda_operator.controller.store import Store
from pagoda_operator.metrics import Metrics
from pagoda_operator.objects.settings import BuildSettings
from tests.doubles.api_server import FakeApi

KEY = ("ns", "m")
MODEL_PATH = "/apis/pagoda.dev/v1alpha1/namespaces/ns/modeldeployments/m"
DEPLOYMENT_PATH = "/apis/apps/v1/namespaces/ns/deployments/m"
MAY_NOT = 'services "m" is forbidden: User "x" cannot patch resource "services" in API group "" in the namespace "ns"'


class Silent:
    """No pod answers."""

    def known(self, pods: object) -> dict[str, Any]:
        return {}

    def has_stale(self, pods: object) -> bool:
        return False


class Bench:
    def __init__(self, **spec: Any) -> None:
        self.api, self.store, self.now, self.leads = FakeApi(), Store(), 0.0, True
        self.reconciler = Reconciler(
            store=self.store,
            client=self.api,
            loads=Silent(),  # type: ignore[arg-type]  # nothing but `known` is asked of it
            handshake_of=lambda key: None,
            metrics=Metrics(),
            settings=BuildSettings("control:1", "server:1"),
            served_kinds=frozenset,
            unread_kinds=frozenset,
            is_leader=lambda: self.leads,
            wall=lambda: self.now,
        )
        self.reconciler._writer.attempts = Attempts(clock=lambda: self.now, jitter=lambda: 0.0)
        self.generation = 0
        self.edit(**spec)

    def edit(self, **spec: Any) -> None:
        self.generation += 1
        before = self.api.objects.get(MODEL_PATH, {})
        model = {
            "apiVersion": "pagoda.dev/v1alpha1",
            "kind": "ModelDeployment",
            "metadata": {"name": "m", "namespace": "ns", "uid": "u1", "generation": self.generation},
            "spec": {"model": {"uri": "bundled://pagoda-tiny"}, **spec},
            "status": before.get("status", {}),
        }
        self.store.put(self.api.put(MODEL_PATH, model))

    def see(self) -> None:
        """What the watches would tell."""
        for obj in self.api.objects.values():
            if obj["kind"] != "Event":
                self.store.put(obj)

    async def reconcile(self) -> float | None:
        return await self.reconciler.reconcile(KEY)

    def condition(self, type_: str) -> dict[str, Any]:
        found = self.api.objects[MODEL_PATH]["status"].get("conditions", [])
        return next((c for c in found if c["type"] == type_), {})

    def kinds(self) -> set[str]:
        return {obj["kind"] for obj in self.api.objects.values()} - {"ModelDeployment", "Event"}


def refuse(part: str, error: ApiError) -> Callable[[str, str], ApiError | None]:
    return lambda method, path: error if part in path else None


@pytest.mark.parametrize("part", ["deployments/m", "services/m", "networkpolicies/m", "poddisruptionbudgets/m"])
async def test_a_refused_object_holds_no_other_up_and_the_status_says_why(part: str) -> None:
    bench = Bench(replicas=2)
    expected = {"Deployment", "Service", "NetworkPolicy", "PodDisruptionBudget"}
    bench.api.fault = lambda method, path: (
        ApiError(422, "spec.x: Invalid value: 0") if f"/{part}" in path and "modeldeployments" not in path else None
    )
    await bench.reconcile()
    assert len(bench.kinds()) == len(expected) - 1
    ready = bench.condition("Ready")
    assert (ready["status"], ready["reason"]) == ("False", "ApplyFailed")
    assert " m: 422: spec.x: Invalid value: 0" in ready["message"]
    assert bench.condition("Stalled")["reason"] == "ApplyFailed"
    assert [e["reason"] for e in bench.api.of_kind("Event")] == ["ApplyFailed"]
    bench.api.fault = lambda method, path: None
    bench.now = 61.0
    await bench.reconcile()
    assert bench.kinds() == expected and bench.condition("Ready")["reason"] == "Starting"
    assert bench.condition("Stalled") == {}


async def test_a_missing_right_is_named() -> None:
    bench = Bench()
    bench.api.fault = refuse("/services/", ApiError(403, MAY_NOT))
    await bench.reconcile()
    assert "the operator may not patch services" in bench.condition("Ready")["message"]
    assert "Deployment" in bench.kinds()


async def test_a_refused_object_is_tried_later_and_later_and_at_once_when_the_spec_changes() -> None:
    bench = Bench(replicas=2)
    tries: list[float] = []

    def fault(method: str, path: str) -> ApiError | None:
        if "/deployments/" not in path:
            return None
        tries.append(bench.now)
        return ApiError(422, "no")

    bench.api.fault = fault
    for _ in range(256):
        await bench.reconcile()
        bench.now += 0.5
    assert tries == [0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5, 63.5, 123.5]
    bench.edit(replicas=3)
    await bench.reconcile()
    assert tries[-1] == bench.now == 128


async def test_retry_after_is_honoured() -> None:
    bench = Bench()
    bench.api.fault = refuse("/services/", ApiError(429, "too many", retry_after_seconds=20.0))
    await bench.reconcile()
    bench.api.fault = lambda method, path: None
    bench.now = 19.0
    await bench.reconcile()
    assert "Service" not in bench.kinds()
    bench.now = 20.0
    await bench.reconcile()
    assert "Service" in bench.kinds()


@pytest.mark.parametrize("status", [0, 409, 429, 500, 503])
async def test_what_passes_by_itself_is_said_only_when_it_does_not(status: int) -> None:
    bench = Bench()
    bench.api.fault = refuse("/services/", ApiError(status, "overloaded"))
    again = await bench.reconcile()
    assert again is not None and again <= 0.5
    assert bench.condition("Ready")["reason"] == "Starting"
    for bench.now in (1.0, 3.0):
        await bench.reconcile()
    assert bench.condition("Ready")["reason"] == "ApplyFailed"
    assert "overloaded" in bench.condition("Ready")["message"]


async def test_replicas_are_ours_only_when_the_hpa_is_gone() -> None:
    bench = Bench(autoscaling={"maxReplicas": 9, "tokensPerSecond": 10})
    await bench.reconcile()
    bench.api.objects[DEPLOYMENT_PATH]["spec"]["replicas"] = 7
    bench.api.put(DEPLOYMENT_PATH, bench.api.objects[DEPLOYMENT_PATH])
    bench.see()
    bench.edit(replicas=2)
    bench.api.fault = lambda method, path: ApiError(403, "held") if method == "DELETE" else None
    await bench.reconcile()
    assert bench.api.objects[DEPLOYMENT_PATH]["spec"]["replicas"] == 7
    assert "HorizontalPodAutoscaler m: 403: held" in bench.condition("Ready")["message"]
    bench.api.fault = lambda method, path: None
    bench.now = 10.0
    assert await bench.reconcile() == 0.0
    await bench.reconcile()
    assert bench.api.objects[DEPLOYMENT_PATH]["spec"]["replicas"] == 2


async def test_who_is_no_longer_the_leader_writes_nothing_more() -> None:
    bench = Bench(replicas=2)

    def fault(method: str, path: str) -> None:
        bench.leads = False

    bench.api.fault = fault
    await bench.reconcile()
    assert len(bench.api.writes) == 1


async def test_a_plan_on_what_is_no_longer_there_is_not_written() -> None:
    bench = Bench(replicas=2)
    await bench.reconcile()
    bench.edit(replicas=3)
    newer = {**bench.api.objects[DEPLOYMENT_PATH]}
    newer["spec"] = {**newer["spec"], "replicas": 5}
    bench.api.put(DEPLOYMENT_PATH, newer)  # by the next leader, of a newer spec that we have not seen
    await bench.reconcile()
    assert bench.api.objects[DEPLOYMENT_PATH]["spec"]["replicas"] == 5
    bench.now = 1.0
    await bench.reconcile()
    assert bench.api.objects[DEPLOYMENT_PATH]["spec"]["replicas"] == 3


async def test_a_status_on_an_older_spec_is_not_written() -> None:
    bench = Bench()
    bench.api.put(MODEL_PATH, {**bench.api.objects[MODEL_PATH], "spec": {}})
    await bench.reconcile()
    assert bench.api.objects[MODEL_PATH]["status"] == {}


async def test_a_resource_that_is_deleted_meanwhile_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    del bench.api.objects[MODEL_PATH]
    await bench.reconcile()
    assert await bench.reconcile() is None
    assert not [record for record in caplog.records if record.levelname in ("ERROR", "WARNING")]


async def test_the_status_is_written_again_after_an_error_and_nothing_at_rest() -> None:
    bench = Bench()
    bench.api.fault = refuse("/status", ApiError(503, "no"))
    await bench.reconcile()
    bench.api.fault = lambda method, path: None
    bench.now = 1.0
    await bench.reconcile()
    assert bench.condition("Ready")["reason"] == "Starting"
    count = len(bench.api.writes)
    await bench.reconcile()
    assert len(bench.api.writes) == count


async def test_the_series_ready_is_that_of_the_status() -> None:
    bench = Bench(replicas=0)
    await bench.reconcile()
    labels = {"namespace": "ns", "model_deployment": "m"}
    assert bench.reconciler.metrics.registry.get_sample_value("pagoda_model_ready", labels) == 1.0
