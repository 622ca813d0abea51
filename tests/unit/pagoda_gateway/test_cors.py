"""Which pages of other sites a browser lets read answers."""

import asyncio
from typing import Any

import pytest

from pagoda_gateway.settings import Settings
from pagoda_guard.origins import parse_origins
from tests.doubles.model_server import FakeModelServer

from .conftest import Client, Start

SITE = "https://chat.example.com"
ASKED = {
    "Origin": SITE,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type,x-stainless-os",
}
GRANTS = "Access-Control-"


def list_grants(headers: Any) -> set[str]:
    return {name for name in headers if name.startswith(GRANTS)}


async def test_by_default_no_page_is_told_anything(start: Start, client: Client, server: FakeModelServer) -> None:
    gateway = await start()
    asked = asyncio.create_task(client.post(gateway, headers={"Origin": SITE}))
    await (await server.next_call()).answer()
    assert not list_grants((await asked).headers)
    url = f"http://127.0.0.1:{gateway.port}/v1/chat/completions"
    preflight = await client.session.options(url, headers=ASKED)
    assert (preflight.status, list_grants(preflight.headers)) == (405, set())


@pytest.mark.parametrize("allowed", [frozenset({SITE}), frozenset({"*"})])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/models", "/tokenize"])
async def test_a_preflight_needs_no_key(
    start: Start,
    client: Client,
    server: FakeModelServer,
    tmp_path_factory: pytest.TempPathFactory,
    allowed: frozenset[str],
    path: str,
) -> None:
    gateway = await start(cors_allowed_origins=allowed, api_keys_dir=tmp_path_factory.mktemp("keys"))
    preflight = await client.session.options(f"http://127.0.0.1:{gateway.port}{path}", headers=ASKED)
    assert preflight.status == 204 and server.calls.empty()
    assert preflight.headers["Access-Control-Allow-Origin"] == ("*" if "*" in allowed else SITE)
    assert preflight.headers["Access-Control-Allow-Headers"] == ASKED["Access-Control-Request-Headers"]
    assert {"GET", "POST", "DELETE"} <= set(preflight.headers["Access-Control-Allow-Methods"].split(", "))
    assert ("*" in allowed) or "Origin" in preflight.headers["Vary"]


async def test_a_page_that_is_not_listed_is_told_nothing(start: Start, client: Client, server: FakeModelServer) -> None:
    gateway = await start(cors_allowed_origins=frozenset({SITE}))
    url = f"http://127.0.0.1:{gateway.port}/v1/chat/completions"
    for origin in ("https://evil.example.com", f"{SITE}.evil.com", "null", f"{SITE}:8443", "http://chat.example.com"):
        preflight = await client.session.options(url, headers={**ASKED, "Origin": origin})
        assert (preflight.status, list_grants(preflight.headers)) == (403, set())


@pytest.mark.parametrize("streams", [True, False])
async def test_answers_and_errors_say_who_may_read_them(
    start: Start, client: Client, server: FakeModelServer, streams: bool
) -> None:
    gateway = await start(cors_allowed_origins=frozenset({SITE}))
    asked = asyncio.create_task(client.post(gateway, headers={"Origin": SITE}))
    call = await server.next_call()
    if streams:
        await call.start_stream()
        await call.end_stream()
    else:
        await call.answer(status=400)
    for response in (await asked, await client.session.get(url := f"http://127.0.0.1:{gateway.port}/x")):
        expected = SITE if response.url.path != "/x" else None
        assert response.headers.get("Access-Control-Allow-Origin") == expected
        assert response.headers["Vary"] == "Origin"
    refused = await client.session.get(url, headers={"Origin": SITE})
    assert (refused.status, refused.headers["Access-Control-Allow-Origin"]) == (404, SITE)
    assert "X-Request-Id" in refused.headers["Access-Control-Expose-Headers"]
    assert "Access-Control-Allow-Credentials" not in refused.headers


async def test_an_allowed_origin_passes_where_only_this_machines_names_do(
    start: Start, client: Client, server: FakeModelServer
) -> None:
    gateway = await start(cors_allowed_origins=frozenset({SITE}), allowed_hosts=frozenset())
    asked = asyncio.create_task(client.post(gateway, headers={"Origin": SITE}))
    await (await server.next_call()).answer()
    assert (await asked).status == 200
    assert (await client.post(gateway, headers={"Origin": "https://evil.example.com"})).status == 403
    rebound = await client.post(gateway, headers={"Origin": SITE, "Host": "chat.example.com"})
    assert rebound.status == 403


async def test_header_names_that_are_none_are_not_repeated(start: Start, client: Client) -> None:
    gateway = await start(cors_allowed_origins=frozenset({"*"}))
    for wish in ("a" * 1025, "bad;header", ""):
        headers = {**ASKED, "Access-Control-Request-Headers": wish}
        preflight = await client.session.options(f"http://127.0.0.1:{gateway.port}/v1/models", headers=headers)
        assert preflight.status == 204 and "Access-Control-Allow-Headers" not in preflight.headers


def test_origins_are_read_in_any_case() -> None:
    assert parse_origins(" HTTPS://Chat.Example.com, http://localhost:3000 ,") == {SITE, "http://localhost:3000"}
    assert parse_origins("") == frozenset() == Settings.__dataclass_fields__["cors_allowed_origins"].default


@pytest.mark.parametrize(
    "text", ["example.com", f"{SITE}/", f"{SITE}/x", "null", "https://*.example.com", "**", "ws://x"]
)
def test_what_is_no_origin_is_refused_with_the_fix(text: str) -> None:
    with pytest.raises(ValueError, match="is no origin; give https://HOST"):
        parse_origins(f"http://localhost,{text}")
