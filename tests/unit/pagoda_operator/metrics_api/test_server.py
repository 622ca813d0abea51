"""The metrics API over real TLS on the loopback: its shapes, and who may ask."""

import asyncio
import gzip
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from pagoda_guard.tasks import Tasks
from pagoda_operator.metrics_api.certificates import build_bundle
from pagoda_operator.metrics_api.server import build_metrics_api_app
from pagoda_operator.metrics_api.shapes import quantity
from pagoda_operator.metrics_api.trust import Trust, build_ssl_context
from pagoda_operator.plan.loads import LoadUnknownError
from pagoda_operator.ports import CONNECTIONS, Port

from .conftest import NOW, FrontProxy, write

GROUP = "/apis/custom.metrics.k8s.io"
METRIC = "namespaces/ns/modeldeployments.pagoda.dev"


async def read_demand(namespace: str, name: str) -> float:
    if name == "cold":
        raise LoadUnknownError("no pod is ready")
    if name == "broken":
        raise RuntimeError("a fault of ours")
    return {("ns", "tiny"): 1234.5678}[(namespace, name)]


class Front:
    """The port as a client sees it, and what it trusts, which a test may change."""

    def __init__(self, ca_pem: bytes, paths: tuple[str, str], trust: Trust) -> None:
        self.ca_pem, self.paths, self.tasks = ca_pem, paths, Tasks()
        self.trust: Trust | None = trust
        self.context: ssl.SSLContext | None = build_ssl_context(trust, *paths)
        app = build_metrics_api_app(read_demand, lambda: self.trust, wall=lambda: 0.0)
        clock = asyncio.get_running_loop().time
        self.port = Port(app, port=0, host="127.0.0.1", tasks=self.tasks, clock=clock, context=lambda: self.context)

    def session(self, client: tuple[str, str] | None) -> aiohttp.ClientSession:
        context = ssl.create_default_context(cadata=self.ca_pem.decode())
        if client:
            context.load_cert_chain(*client)
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context))

    def url(self, path: str) -> str:
        return f"https://localhost:{self.port.number}{path}"

    async def get(self, path: str, client: tuple[str, str] | None, method: str = "GET", **more: Any) -> tuple[int, Any]:
        async with self.session(client) as session, session.request(method, self.url(path), **more) as answer:
            return answer.status, await answer.json()


@pytest.fixture
async def front(tmp_path: Path, proxy_ca: FrontProxy) -> AsyncIterator[Front]:
    bundle = build_bundle(("localhost",), NOW)
    paths = write(tmp_path, "server", bundle.certificate_pem, bundle.key_pem)
    front = Front(bundle.ca_pem, paths, Trust(proxy_ca.ca_pem.decode(), ("front-proxy-client",)))
    await front.port.start()
    yield front
    await front.port.close()
    await front.tasks.stop()


@pytest.mark.parametrize("version", ["v1beta1", "v1beta2"])
async def test_the_demand_has_the_shape_of_its_version(front: Front, proxy: tuple[str, str], version: str) -> None:
    status, body = await front.get(f"{GROUP}/{version}/{METRIC}/tiny/demand_tokens_per_second", proxy)
    assert status == 200
    item = body["items"][0]
    assert (body["kind"], body["apiVersion"]) == ("MetricValueList", f"custom.metrics.k8s.io/{version}")
    assert item["value"] == "1234568m"
    assert item["describedObject"]["name"] == "tiny"
    name = item["metricName"] if version == "v1beta1" else item["metric"]["name"]
    assert name == "demand_tokens_per_second"


async def test_discovery_names_group_versions_and_metric(front: Front, proxy: tuple[str, str]) -> None:
    assert (await front.get("/apis", proxy))[1]["groups"][0]["name"] == "custom.metrics.k8s.io"
    assert (await front.get(GROUP, proxy))[1]["preferredVersion"]["version"] == "v1beta2"
    resources = (await front.get(f"{GROUP}/v1beta1", proxy))[1]["resources"]
    assert resources[0]["name"] == "modeldeployments.pagoda.dev/demand_tokens_per_second"


@pytest.mark.parametrize("tail", ["cold/demand_tokens_per_second", "none/demand_tokens_per_second", "*/x", "tiny/x"])
async def test_what_is_not_known_is_an_error_and_never_zero(front: Front, proxy: tuple[str, str], tail: str) -> None:
    status, body = await front.get(f"{GROUP}/v1beta2/{METRIC}/{tail}", proxy)
    assert (status, body["kind"], body["status"]) == (404, "Status", "Failure")


async def test_without_a_certificate_nothing_is_told(front: Front) -> None:
    for path in ("/healthz", f"{GROUP}/v1beta2"):
        with pytest.raises((aiohttp.ClientError, OSError)):
            await front.get(path, None)


async def test_after_a_rotation_the_old_ca_opens_nothing_and_connections_it_let_in_end(
    front: Front, proxy: tuple[str, str], tmp_path: Path
) -> None:
    rotated = FrontProxy()
    async with front.session(proxy) as session:
        async with session.get(front.url(GROUP)) as answer:
            assert answer.status == 200
        front.trust = Trust(rotated.ca_pem.decode(), ("front-proxy-client",))
        front.context = build_ssl_context(front.trust, *front.paths)
        front.port.drop_connections()
        with pytest.raises((aiohttp.ClientError, OSError)):
            await session.get(front.url(GROUP))
    new = write(tmp_path, "new", *rotated.sign("front-proxy-client"))
    assert (await front.get(GROUP, new))[0] == 200


async def test_while_nobody_can_be_judged_everybody_is_refused(front: Front, proxy: tuple[str, str]) -> None:
    async with front.session(proxy) as session:
        async with session.get(front.url(GROUP)) as answer:
            assert answer.status == 200
        front.trust = None
        async with session.get(front.url(GROUP)) as answer:
            assert answer.status == 401, "also where a connection is open"
    front.context = None
    with pytest.raises((aiohttp.ClientError, OSError)):
        await front.get(GROUP, proxy)


async def test_silent_connections_are_bounded_and_the_front_proxy_still_gets_in(
    front: Front, proxy: tuple[str, str]
) -> None:
    silent = []
    for _ in range(3 * CONNECTIONS):
        silent.append(socket.create_connection(("127.0.0.1", front.port.number)))
        await asyncio.sleep(0)
        assert front.port.connections <= CONNECTIONS
    assert (await front.get(GROUP, proxy))[0] == 200
    for connection in silent:
        connection.close()


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("client_leaves", [False, True])
async def test_a_connection_that_is_ending_may_be_ended_again(
    front: Front, proxy: tuple[str, str], method: str, client_leaves: bool
) -> None:
    """NB: Python 3.11.2 cannot abort a TLS transport that has ended. A refused POST is ended by us."""
    async with front.session(proxy) as session:
        async with session.request(method, front.url(GROUP)):
            pass
        if client_leaves:
            await session.close()
        for _ in range(20):
            front.port.drop_connections()
            await asyncio.sleep(0)
    assert (await front.get(GROUP, proxy))[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_only_reads_are_answered(front: Front, proxy: tuple[str, str], method: str) -> None:
    status, body = await front.get(GROUP, proxy, method)
    assert (status, body["reason"], body["code"]) == (405, "MethodNotAllowed", 405)


async def test_a_body_is_refused_and_not_inflated(front: Front, proxy: tuple[str, str]) -> None:
    more: dict[str, Any] = {"data": gzip.compress(b" " * 10_000_000), "headers": {"Content-Encoding": "gzip"}}
    status, body = await front.get(GROUP, proxy, **more)
    assert (status, body["reason"]) == (413, "RequestEntityTooLarge")


async def test_a_fault_is_one_answer_and_tells_nothing(front: Front, proxy: tuple[str, str]) -> None:
    status, body = await front.get(f"{GROUP}/v1beta2/{METRIC}/broken/demand_tokens_per_second", proxy)
    assert (status, body["kind"]) == (500, "Status") and "fault of ours" not in body["message"]


@pytest.mark.parametrize("name", ["x" * 64, "Tiny", "a%0Ab", "%ff", "..%2f", "a%00b", "\u202e"])
async def test_what_a_caller_sends_is_not_repeated(front: Front, proxy: tuple[str, str], name: str) -> None:
    for path in (f"{GROUP}/v1beta2/{METRIC}/{name}/demand_tokens_per_second", f"/{name}", f"{GROUP}/{name}"):
        status, body = await front.get(path, proxy)
        assert status == 404 and body["kind"] == "Status"
        assert body["message"].isascii() and len(body["message"]) < 120 and "xxx" not in body["message"]


async def test_a_name_that_is_not_allowed_is_refused(front: Front, proxy_ca: FrontProxy, tmp_path: Path) -> None:
    other = write(tmp_path, "other", *proxy_ca.sign("someone-else"))
    assert (await front.get(f"{GROUP}/v1beta2", other))[0] == 401


async def test_a_certificate_of_another_ca_is_refused(front: Front, tmp_path: Path) -> None:
    other = write(tmp_path, "other", *FrontProxy().sign("front-proxy-client"))
    with pytest.raises((aiohttp.ClientError, ssl.SSLError, OSError)):
        await front.get(f"{GROUP}/v1beta2", other)


def test_quantities_are_exact() -> None:
    assert [quantity(value) for value in (0.0, 3.0, 0.5)] == ["0", "3", "500m"]
