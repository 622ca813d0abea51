"""How an operator ends: in order, or by a fault after which it is started again."""

import asyncio
import math
import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from pagoda_operator.controller.operator import FIRST_CHECK_SECONDS, Operator
from pagoda_operator.settings import Settings


class Leading:
    """A Lease that this replica holds."""

    is_leader = True
    released = False

    async def release(self) -> None:
        self.released = True


class Registered:
    """A metrics API whose APIServices are in the cluster."""

    registered = True

    async def leave(self) -> None:
        self.registered = False

    async def close(self) -> None: ...


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    cluster = {"name": "c", "cluster": {"server": "http://127.0.0.1:9"}}
    context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
    users = [{"name": "u", "user": {"token": "t"}}]
    config = {"clusters": [cluster], "contexts": [context], "users": users, "current-context": "c"}
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", **config}))
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(path))
    return Settings(metrics_port=0, health_port=0, identity="me")


def leading(settings: Settings) -> tuple[Operator, Leading, Registered]:
    operator, lease, api = Operator(settings), Leading(), Registered()
    operator.lease, operator.metrics_api = lease, api  # type: ignore[assignment]  # of both only the end is asked
    return operator, lease, api


async def test_an_orderly_end_takes_the_metrics_api_out_of_the_cluster(settings: Settings) -> None:
    operator, lease, api = leading(settings)
    stop = asyncio.Event()
    stop.set()
    await operator.run(stop)
    assert (lease.released, api.registered) == (True, False)


async def test_a_fault_leaves_the_metrics_api_to_the_operator_that_is_started_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator, lease, api = leading(settings)
    stop = asyncio.Event()

    async def fault() -> None:
        raise RuntimeError("a part that must not end")

    operator.tasks.watch("part", fault())
    monkeypatch.setattr(operator, "_first_check", lambda _: asyncio.sleep(0))
    monkeypatch.setattr(operator, "_start", lambda: None)
    with pytest.raises(Exception, match="part ended: RuntimeError"):
        await operator.run(stop)
    assert (lease.released, api.registered) == (True, True)


async def test_a_port_that_is_taken_is_a_fault_with_its_reason(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        operator, _, api = leading(replace(settings, health_port=taken.getsockname()[1]))
        with pytest.raises(OSError, match="in use"):
            await operator.run(asyncio.Event())
    assert api.registered


async def test_models_that_are_always_due_leave_the_lease_its_turn(settings: Settings) -> None:
    operator, _, _ = leading(settings)
    reconciles = 0

    class Busy:
        async def reconcile(self, _: tuple[str, str]) -> float:
            nonlocal reconciles
            reconciles += 1
            if reconciles == 100:
                await asyncio.Event().wait()
            return 0.0

    operator.reconciler = Busy()  # type: ignore[assignment]  # whose work alone counts
    operator.queue.add(("ns", "tiny"))
    operator.tasks.keep("worker", operator._work)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert reconciles < 100
    await operator.tasks.stop()
    operator.client.close()


async def test_what_was_deleted_before_kopf_lists_again_is_looked_for_soon(settings: Settings) -> None:
    operator = Operator(settings)
    meta = {"namespace": "ns", "name": "m", "uid": "1", "resourceVersion": "1"}
    operator._check_at = math.inf
    operator.observe("MODIFIED", {"kind": "ModelDeployment", "metadata": meta})
    assert operator._check_at == math.inf
    operator.observe("", {"kind": "ModelDeployment", "metadata": meta})
    assert operator._check_at <= time.monotonic() + FIRST_CHECK_SECONDS


async def test_a_model_of_another_namespace_than_those_to_serve_is_not_looked_at(settings: Settings) -> None:
    operator = Operator(replace(settings, watch_namespaces=("team",)))
    for namespace in ("team", settings.namespace):
        meta = {"namespace": namespace, "name": "m", "uid": namespace, "resourceVersion": "1"}
        operator.observe("ADDED", {"kind": "ModelDeployment", "metadata": meta})
    assert list(operator.store.model_keys()) == [("team", "m")]
    operator.observe(
        "ADDED", {"kind": "IngressClass", "metadata": {"name": "nginx", "uid": "c", "resourceVersion": "1"}}
    )
    assert [found["metadata"]["name"] for found in operator.store.of_kind("IngressClass")] == ["nginx"]
    operator.client.close()
