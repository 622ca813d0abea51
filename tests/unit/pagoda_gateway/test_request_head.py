"""What is refused by its head alone: codings, kinds of body, names and origins, methods and paths."""

import asyncio
import gzip
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagoda_gateway.request_head import is_allowed
from pagoda_gateway.settings import parse_hosts
from pagoda_gateway.sidecar import Sidecar
from tests.doubles.model_server import FakeModelServer
from tests.doubles.raw_client import connect, post_head

from .conftest import Client, Start

BOMB = gzip.compress(b"x" * 64 * 1024 * 1024)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "GZIP", "identity, gzip", "x", "gzip, identity"])
async def test_coded_body_is_415_and_nothing_is_inflated(
    server: FakeModelServer, start: Start, client: Client, coding: str
) -> None:
    gateway = await start()
    tracemalloc.start()
    response = await client.post(gateway, BOMB, headers={"Content-Encoding": coding})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (response.status, (await response.json())["error"]["code"]) == (415, "unsupported_content_encoding")
    assert response.headers["Accept-Encoding"] == "identity"
    assert peak < 4 * 1024 * 1024 and server.calls.empty()


async def test_body_coded_as_identity_passes(server: FakeModelServer, start: Start) -> None:
    gateway = await start()
    async with connect(gateway.port) as client:
        await client.send(post_head("Content-Length: 2", "Content-Encoding: identity") + b"{}")
        await (await server.next_call()).answer()
        assert (await client.answer()).status == 200


async def send_typed(gateway: Sidecar, *lines: str) -> int:
    head = "\r\n".join(["POST /v1/completions HTTP/1.1", "Host: localhost", "Content-Length: 2", *lines, "", ""])
    async with connect(gateway.port) as client:
        await client.send(head.encode() + b"{}")
        return (await client.answer()).status


@pytest.mark.parametrize(
    "kind", ["application/json", "application/json; charset=utf-8", "Application/JSON", "application/vnd.x+json", None]
)
async def test_json_passes_and_so_does_a_body_without_a_type(
    server: FakeModelServer, start: Start, kind: str | None
) -> None:
    gateway = await start()
    asked = asyncio.ensure_future(send_typed(gateway, *([f"Content-Type: {kind}"] if kind else [])))
    await (await server.next_call()).answer()
    assert await asked == 200


@pytest.mark.parametrize(
    "lines",
    [
        ("Content-Type: text/plain",),
        ("Content-Type: application/x-www-form-urlencoded",),
        ("Content-Type: multipart/form-data; boundary=x",),
        ("Content-Type: text/plain; application/json",),
        ("Content-Type: application/jsonx",),
        ("Content-Type: nonsense",),
        ("Origin: https://evil.example",),
        ("Content-Type:", "Origin: https://evil.example"),
    ],
)
async def test_what_a_page_may_send_unasked_is_415(
    server: FakeModelServer, start: Start, lines: tuple[str, ...]
) -> None:
    gateway = await start()
    assert await send_typed(gateway, *lines) == 415
    assert server.calls.empty()


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil", "a b"]
)
async def test_other_hosts_are_403_where_hosts_are_named(start: Start, client: Client, host: str) -> None:
    gateway = await start(allowed_hosts=frozenset({"gpu.lan"}))
    for path in ("/v1/models", "/load"):
        response = await client.session.get(f"http://127.0.0.1:{gateway.port}{path}", headers={"Host": host})
        assert (response.status, (await response.json())["error"]["code"]) == (403, "forbidden_host")


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost.evil", "http://[", ""])
async def test_other_origins_are_403_where_hosts_are_named(start: Start, client: Client, origin: str) -> None:
    gateway = await start(allowed_hosts=frozenset())
    response = await client.post(gateway, headers={"Origin": origin})
    assert (response.status, (await response.json())["error"]["code"]) == (403, "forbidden_origin")


@pytest.mark.parametrize("host", ["gpu.lan", "GPU.lan:80", "localhost", "localhost:8000", "127.0.0.1", "[::1]:8000"])
async def test_named_and_own_hosts_pass(start: Start, client: Client, host: str) -> None:
    gateway = await start(allowed_hosts=frozenset({"gpu.lan"}))
    headers = {"Host": host, "Origin": f"http://{host}"}
    response = await client.session.get(f"http://127.0.0.1:{gateway.port}/health", headers=headers)
    assert response.status == 200


async def test_any_host_passes_where_none_is_named(start: Start, client: Client) -> None:
    gateway = await start()
    response = await client.session.get(f"http://127.0.0.1:{gateway.port}/health", headers={"Host": "any.example"})
    assert response.status == 200


@given(st.text(max_size=30))
def test_no_text_but_a_name_of_ours_is_allowed(text: str) -> None:
    if is_allowed(text, {"gpu.lan"}):
        assert text.strip().lower().startswith(("gpu.lan", "localhost", "127.", "[::1]"))


def test_hosts_are_names_with_commas_between() -> None:
    assert parse_hosts(" A.example,b ,") == {"a.example", "b"}


@pytest.mark.parametrize("headers", [{}, {"X-Pagoda-Admin": "0"}, {"X-Pagoda-Admin": "1", "Host": "evil.example"}])
async def test_page_of_another_site_cannot_drain(start: Start, client: Client, headers: dict[str, str]) -> None:
    gateway = await start()
    response = await client.session.post(f"http://127.0.0.1:{gateway.admin_port}/drain", headers=headers)
    assert (response.status, (await response.json())["error"]["type"]) == (403, "invalid_request_error")
    assert not gateway.drain.draining


@pytest.mark.parametrize("path", ["/", "/v2/models", "/nothing"])
async def test_unknown_path_is_404_in_our_shape(start: Start, client: Client, path: str) -> None:
    gateway = await start()
    response = await client.get(gateway, path)
    assert (response.status, (await response.json())["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize("method", ["PUT", "PATCH", "OPTIONS"])
@pytest.mark.parametrize("path", ["/health", "/v1/models"])
async def test_other_method_is_405_and_says_which_are_allowed(
    start: Start, client: Client, method: str, path: str
) -> None:
    gateway = await start()
    response = await client.session.request(method, f"http://127.0.0.1:{gateway.port}{path}")
    assert (response.status, "GET" in response.headers["Allow"]) == (405, True)
    assert (await response.json())["error"]["code"] == "method_not_allowed"
