"""A kind that is refused is said by name, and the others go on."""

from collections.abc import Callable
from typing import Any

import pytest

from pagoda_operator.cluster.client import ApiError
from pagoda_operator.controller.check import Checker
from pagoda_operator.controller.store import Store
from pagoda_operator.kube.kinds import WATCHED, Kind
from pagoda_operator.metrics import Metrics


class ApiServer:
    """Lists, as the API server gives them to someone with these rights."""

    def __init__(self) -> None:
        self.errors: dict[str, ApiError] = {}
        self.items: dict[str, list[dict[str, Any]]] = {}
        self.optional: list[str] = []

    async def list(
        self, kind: Kind, namespace: str = "", *, keep: Callable[[Any], Any], **_: object
    ) -> list[dict[str, Any]]:
        if kind.plural in self.errors:
            raise self.errors[kind.plural]
        return [keep(item) for item in self.items.get(kind.plural, [])]

    async def request(self, *_: object, **__: object) -> dict[str, Any]:
        if not self.optional:
            raise ApiError(404, "no such group")
        return {"resources": [{"kind": kind} for kind in self.optional]}


def service(name: str) -> dict[str, Any]:
    meta = {"namespace": "ns", "name": name, "uid": name, "resourceVersion": "1"}
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta}


@pytest.fixture
def server() -> ApiServer:
    return ApiServer()


@pytest.fixture
def checker(server: ApiServer) -> Checker:
    return Checker(server, Store(), Metrics(), (), lambda _: None)  # type: ignore[arg-type]


def readable(checker: Checker, kind: str) -> float | None:
    return checker.metrics.registry.get_sample_value("pagoda_operator_kind_readable", {"kind": kind})


async def test_a_right_that_is_missing_is_said_by_name_and_others_go_on(
    server: ApiServer, checker: Checker, caplog: pytest.LogCaptureFixture
) -> None:
    server.errors["networkpolicies"] = ApiError(403, "forbidden")
    server.items["services"] = [service("tiny")]
    await checker.check()
    assert checker.store.get("Service", "ns", "tiny")
    assert [kind.kind for kind in WATCHED if kind not in checker.readable] == ["NetworkPolicy"]
    assert "cannot list networkpolicies" in caplog.text and 'apiGroup "networking.k8s.io"' in caplog.text
    assert (readable(checker, "networking.k8s.io/NetworkPolicy"), readable(checker, "/Service")) == (0, 1)
    caplog.clear()
    await checker.check()
    assert "cannot list" not in caplog.text, "said once"
    del server.errors["networkpolicies"]
    await checker.check()
    assert readable(checker, "networking.k8s.io/NetworkPolicy") == 1 and checker.readable == WATCHED


async def test_what_was_known_before_a_right_was_lost_is_kept(server: ApiServer, checker: Checker) -> None:
    server.items["services"] = [service("tiny")]
    await checker.check()
    server.errors["services"] = ApiError(403, "forbidden")
    await checker.check()
    assert checker.store.get("Service", "ns", "tiny")


@pytest.mark.parametrize("plural", ["modeldeployments", "deployments", "pods"])
async def test_without_an_essential_kind_nothing_is_planned(server: ApiServer, checker: Checker, plural: str) -> None:
    server.errors[plural] = ApiError(403, "forbidden")
    server.items["services"] = [service("tiny")]
    with pytest.raises(ApiError):
        await checker.check()
    assert checker.store.get("Service", "ns", "tiny"), "the others are read all the same"


@pytest.mark.parametrize("status", [0, 429, 500])
async def test_an_api_server_in_trouble_is_no_missing_right(server: ApiServer, checker: Checker, status: int) -> None:
    server.errors["services"] = ApiError(status, "no")
    with pytest.raises(ApiError):
        await checker.check()


async def test_kinds_of_other_projects_are_noticed_when_they_come_and_go(server: ApiServer, checker: Checker) -> None:
    assert not await checker.read_served_kinds()
    server.optional = ["PodMonitor", "Alertmanager"]
    assert await checker.read_served_kinds()
    assert checker.served_kinds == {"monitoring.coreos.com/PodMonitor"}
    assert not await checker.read_served_kinds()
    server.optional = []
    assert await checker.read_served_kinds()
