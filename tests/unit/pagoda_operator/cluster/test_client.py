"""What the API server answers becomes an object or one error, whatever it is."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes import client as kubernetes_client

from pagoda_operator.cluster.client import ApiError, Client
from pagoda_operator.kube.kinds import kind_named

SERVICE = kind_named("v1", "Service")
PATH = "/api/v1/namespaces/ns/services/m"


class Answer:
    status, text, retry_after, method = 200, "{}", "", ""


@pytest.fixture
def answer() -> Answer:
    return Answer()


@pytest.fixture
async def client(answer: Answer) -> AsyncIterator[Client]:
    async def give(request: web.Request) -> web.Response:
        answer.method = request.method
        headers = {"Retry-After": answer.retry_after} if answer.retry_after else {}
        return web.Response(status=answer.status, text=answer.text, headers=headers)

    app = web.Application()
    app.router.add_route("*", PATH, give)
    async with TestServer(app) as server:
        configuration = kubernetes_client.Configuration(host=str(server.make_url("")).rstrip("/"))
        configuration.retries = False
        api_client = kubernetes_client.ApiClient(configuration)
        made = Client(api_client, count=lambda verb, kind, code: None, timeout_seconds=5.0, threads=1)
        yield made
        made.close()
        api_client.rest_client.pool_manager.clear()


@pytest.mark.parametrize(("given", "seconds"), [("7", 7.0), ("", 0.0), ("soon", 0.0), ("9" * 400, 300.0), ("-1", 0.0)])
async def test_retry_after_is_read_within_bounds(client: Client, answer: Answer, given: str, seconds: float) -> None:
    answer.status, answer.retry_after, answer.text = 429, given, '{"message": "too many"}'
    with pytest.raises(ApiError, match="429: too many") as refused:
        await client.get(SERVICE, "m", "ns")
    assert refused.value.retry_after_seconds == seconds


@pytest.mark.parametrize("text", ["[" * 100_000, "[1]", "", "null", "{"])
@pytest.mark.parametrize("status", [200, 422, 500])
async def test_an_answer_that_is_no_object_is_one_error(client: Client, answer: Answer, status: int, text: str) -> None:
    answer.status, answer.text = status, text
    with pytest.raises(ApiError):
        await client.get(SERVICE, "m", "ns")


async def test_what_finalizers_hold_back_is_given(client: Client, answer: Answer) -> None:
    answer.text = '{"kind": "Service", "metadata": {"finalizers": ["a/b"]}}'
    assert await client.delete(SERVICE, "m", "ns", uid="u") is not None
    answer.text = '{"kind": "Status"}'
    assert await client.delete(SERVICE, "m", "ns") is None
    assert answer.method == "DELETE"
