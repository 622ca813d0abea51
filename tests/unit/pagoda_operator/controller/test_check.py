"""A kind that is refused is said by name, and the others go on."""

from typing import Any

import pytest

from pagoda_operator.cluster.client import ApiError
from pagoda_operator.controller.check import Checker
from pagoda_operator.controller.store import Store
from pagoda_operator.kube.kinds import WATCHED
from pagoda_operator.metrics import Metrics
from tests.doubles.api_server import FakeApi

TINY = "/api/v1/namespaces/ns/services/tiny"
PROJECT = "monitoring.coreos.com/v1"


def service(name: str) -> dict[str, Any]:
    meta = {"namespace": "ns", "name": name, "uid": name, "resourceVersion": "1"}
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta}


@pytest.fixture
def server() -> FakeApi:
    return FakeApi()


@pytest.fixture
def checker(server: FakeApi) -> Checker:
    return Checker(server, Store(), Metrics(), (), lambda _: None)


def readable(checker: Checker, kind: str) -> float | None:
    return checker.metrics.registry.get_sample_value("pagoda_operator_kind_readable", {"kind": kind})


async def test_a_right_that_is_missing_is_said_by_name_and_others_go_on(
    server: FakeApi, checker: Checker, caplog: pytest.LogCaptureFixture
) -> None:
    server.unlisted["NetworkPolicy"] = ApiError(403, "forbidden")
    server.put(TINY, service("tiny"))
    await checker.check()
    assert checker.store.get("Service", "ns", "tiny")
    assert [kind.kind for kind in WATCHED if kind not in checker.readable] == ["NetworkPolicy"]
    assert "cannot list networkpolicies" in caplog.text and 'apiGroup "networking.k8s.io"' in caplog.text
    assert (readable(checker, "networking.k8s.io/NetworkPolicy"), readable(checker, "/Service")) == (0, 1)
    caplog.clear()
    await checker.check()
    assert "cannot list" not in caplog.text, "said once"
    del server.unlisted["NetworkPolicy"]
    await checker.check()
    assert readable(checker, "networking.k8s.io/NetworkPolicy") == 1 and checker.readable == WATCHED


async def test_what_was_known_before_a_right_was_lost_is_kept(server: FakeApi, checker: Checker) -> None:
    server.put(TINY, service("tiny"))
    await checker.check()
    server.unlisted["Service"] = ApiError(403, "forbidden")
    await checker.check()
    assert checker.store.get("Service", "ns", "tiny")


@pytest.mark.parametrize("kind", ["ModelDeployment", "Deployment", "Pod"])
async def test_without_an_essential_kind_nothing_is_planned(server: FakeApi, checker: Checker, kind: str) -> None:
    server.unlisted[kind] = ApiError(403, "forbidden")
    server.put(TINY, service("tiny"))
    with pytest.raises(ApiError):
        await checker.check()
    assert checker.store.get("Service", "ns", "tiny"), "the others are read all the same"


@pytest.mark.parametrize("status", [0, 429, 500])
async def test_an_api_server_in_trouble_is_no_missing_right(server: FakeApi, checker: Checker, status: int) -> None:
    server.unlisted["Service"] = ApiError(status, "no")
    with pytest.raises(ApiError):
        await checker.check()


async def test_kinds_of_other_projects_are_noticed_when_they_come_and_go(server: FakeApi, checker: Checker) -> None:
    assert not await checker.read_served_kinds()
    server.resources[PROJECT] = ["PodMonitor", "Alertmanager"]
    assert await checker.read_served_kinds()
    assert checker.served_kinds == {"monitoring.coreos.com/PodMonitor"}
    assert not await checker.read_served_kinds()
    server.resources[PROJECT] = []
    assert await checker.read_served_kinds()
