"""What is relayed, with and without a turn, and what each path is called."""

import asyncio

import pytest

from pagoda_gateway.paths import name_route
from tests.doubles.model_server import FakeModelServer

from .conftest import Client, Start


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/v1/responses", "/v1/responses"),
        ("/v1/messages/count_tokens", "/v1/messages/count_tokens"),
        ("/openapi.json", "/openapi.json"),
        ("/v1/models/pagoda-tiny", "/v1/models/{id}"),
        ("/v1/responses/resp_1/input_items", "/v1/responses/{id}/input_items"),
        ("/v1/responses/resp_1/else", "other"),
        ("/v1/models/", "other"),
        ("/x", "other"),
    ],
)
def test_a_route_names_no_object(path: str, route: str) -> None:
    assert name_route(path) == route


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/messages"])
async def test_a_generation_takes_a_turn(server: FakeModelServer, start: Start, client: Client, path: str) -> None:
    gateway = await start()
    asked = asyncio.create_task(client.session.post(f"http://127.0.0.1:{gateway.port}{path}", data=b"{}"))
    call = await server.next_call()
    assert (call.target, gateway.queue.running) == (path, 1)
    await call.answer()
    assert (await asked).status == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/messages/count_tokens"),
        ("POST", "/tokenize"),
        ("POST", "/detokenize"),
        ("GET", "/v1/models/some/model"),
        ("GET", "/version"),
        ("GET", "/ping"),
        ("POST", "/ping"),
        ("GET", "/openapi.json"),
    ],
)
async def test_what_generates_nothing_passes_a_full_gateway(
    server: FakeModelServer, start: Start, client: Client, method: str, path: str
) -> None:
    gateway = await start(max_running=1, max_queued=0)
    running = asyncio.create_task(client.post(gateway))
    generation = await server.next_call()
    asked = asyncio.create_task(client.session.request(method, f"http://127.0.0.1:{gateway.port}{path}?a=1"))
    call = await server.next_call()
    assert (call.method, call.target) == (method, f"{path}?a=1")
    await call.answer(b'{"ok": 1}')
    assert await (await asked).read() == b'{"ok": 1}'
    await generation.answer()
    await running


@pytest.mark.parametrize("path", ["/tokenize", "/version", "/ping", "/openapi.json", "/v1/responses/resp_1"])
async def test_nothing_is_relayed_without_a_key(
    server: FakeModelServer, start: Start, client: Client, tmp_path_factory: pytest.TempPathFactory, path: str
) -> None:
    gateway = await start(api_keys_dir=tmp_path_factory.mktemp("keys"))
    assert (await client.get(gateway, path)).status == 401
    assert server.calls.empty()


async def test_head_is_asked_of_the_server_and_answered_without_a_body(
    server: FakeModelServer, start: Start, client: Client
) -> None:
    gateway = await start()
    url = f"http://127.0.0.1:{gateway.port}"
    asked = asyncio.create_task(client.session.head(f"{url}/v1/models"))
    call = await server.next_call()
    assert (call.method, call.headers.get("content-length")) == ("HEAD", None)
    await call.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 17\r\n\r\n")
    call.writer.close()
    response = await asked
    assert (response.status, response.headers["Content-Length"], await response.read()) == (200, "17", b"")
    assert (await client.session.head(f"{url}/health")).status == 200
    assert (await client.session.head(f"{url}/nothing")).status == 404


@pytest.mark.parametrize("header", [b"Authorization: Bearer key-of-alice", b"x-api-key: key-of-alice"])
async def test_no_kind_of_key_reaches_the_server(
    server: FakeModelServer, start: Start, client: Client, tmp_path_factory: pytest.TempPathFactory, header: bytes
) -> None:
    keys = tmp_path_factory.mktemp("keys")
    (keys / "alice").write_text("key-of-alice")
    gateway = await start(api_keys_dir=keys)
    name, _, value = header.decode().partition(": ")
    asked = asyncio.create_task(client.post(gateway, headers={name: value}))
    call = await server.next_call()
    assert call.headers["x-pagoda-tenant"] == "alice"
    assert "key-of-alice" not in str(call.headers)
    await call.answer()
    assert (await asked).status == 200
