"""`/v1/responses` through a gateway: it goes on from kept answers, and shows and deletes them."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from pagoda_gateway.sidecar import Sidecar
from tests.doubles.clock import Clock
from tests.doubles.model_server import Call, FakeModelServer

from ..conftest import Client, Start

PATH = "/v1/responses"


def url(gateway: Sidecar, path: str = "") -> str:
    return f"http://127.0.0.1:{gateway.port}{PATH}{path}"


def count_kept(gateway: Sidecar) -> float:
    (found,) = re.findall(rb"^pagoda_gateway_kept_responses\{.*\} (.*)$", gateway.metrics.render(), re.MULTILINE)
    return float(found)


def build_response(response_id: str, text: str, **fields: Any) -> dict[str, Any]:
    content = [{"type": "output_text", "text": text}]
    output = [{"type": "message", "id": f"msg_{response_id}", "role": "assistant", "content": content}]
    return {"id": response_id, "object": "response", "status": "completed", "output": output, **fields}


async def ask(
    gateway: Sidecar, client: Client, server: FakeModelServer, response: dict[str, Any], **body: Any
) -> tuple[dict[str, Any], aiohttp.ClientResponse]:
    """Returns the body as the server got it, and the answer."""
    headers = body.pop("headers", {})
    asked = asyncio.create_task(client.session.post(url(gateway), data=json.dumps(body).encode(), headers=headers))
    call = await server.next_call()
    if body.get("stream"):
        await stream(call, response)
    else:
        await call.answer(json.dumps(response).encode())
    answer = await asked
    await answer.read()
    return json.loads(call.body), answer


async def stream(call: Call, response: dict[str, Any]) -> None:
    await call.start_stream()
    for name, said in (("response.created", {"id": response["id"]}), ("response.completed", response)):
        event = json.dumps({"type": name, "response": said}).encode()
        await call.chunk(b"event: " + name.encode() + b"\ndata: " + event + b"\n\n")
    await call.end_stream()


@pytest.mark.parametrize("streams", [False, True])
async def test_a_conversation_goes_on_from_the_answer_before(
    start: Start, client: Client, server: FakeModelServer, streams: bool
) -> None:
    gateway = await start()
    seen, _ = await ask(gateway, client, server, build_response("r1", "eins"), input="one", stream=streams)
    assert seen["input"] == "one"
    await ask(
        gateway, client, server, build_response("r2", "zwei"), input="two", previous_response_id="r1", stream=streams
    )
    seen, _ = await ask(
        gateway, client, server, build_response("r3", "drei"), input="three", previous_response_id="r2", stream=streams
    )
    texts = [item["content"][0]["text"] for item in seen["input"]]
    assert texts == ["one", "eins", "two", "zwei", "three"] and "previous_response_id" not in seen
    assert [item["role"] for item in seen["input"]] == ["user", "assistant"] * 2 + ["user"]
    again = await (await client.session.get(url(gateway, "/r3"))).json()
    assert again == build_response("r3", "drei", previous_response_id="r2", store=True)


async def test_the_items_of_a_response_are_listed_by_pages(
    start: Start, client: Client, server: FakeModelServer
) -> None:
    gateway = await start()
    await ask(gateway, client, server, build_response("r1", "eins"), input="one")
    await ask(gateway, client, server, build_response("r2", "zwei"), input="two", previous_response_id="r1")
    listed = await (await client.session.get(url(gateway, "/r2/input_items?order=asc"))).json()
    assert [item["content"][0]["text"] for item in listed["data"]] == ["one", "eins", "two"]
    page = await (await client.session.get(url(gateway, "/r2/input_items?limit=1"))).json()
    assert page["data"][0]["content"][0]["text"] == "two" and page["has_more"] is True
    after = await (await client.session.get(url(gateway, f"/r2/input_items?after={page['last_id']}"))).json()
    assert [item["content"][0]["text"] for item in after["data"]] == ["eins", "one"]
    for query in ("limit=0", "limit=101", "limit=x", "order=up", "after=other", "else=1"):
        refused = await client.session.get(url(gateway, f"/r2/input_items?{query}"))
        assert refused.status == 400 and (await refused.json())["error"]["param"]


async def test_a_deleted_response_is_gone(start: Start, client: Client, server: FakeModelServer) -> None:
    gateway = await start()
    await ask(gateway, client, server, build_response("r1", "eins"), input="one")
    deleted = await client.session.delete(url(gateway, "/r1"))
    assert await deleted.json() == {"id": "r1", "object": "response", "deleted": True}
    for answer in (await client.session.get(url(gateway, "/r1")), await client.session.delete(url(gateway, "/r1"))):
        assert (answer.status, (await answer.json())["error"]["message"]) == (404, "Response with id 'r1' not found.")
    assert server.calls.empty()


@pytest.mark.parametrize("previous", ["r0", "<script>"])
async def test_an_unknown_previous_response_is_refused_in_openais_words(
    start: Start, client: Client, server: FakeModelServer, previous: str
) -> None:
    gateway = await start()
    refused = await client.session.post(url(gateway), data=json.dumps({"input": "x", "previous_response_id": previous}))
    error = (await refused.json())["error"]
    assert (refused.status, error["code"], error["param"]) == (
        400,
        "previous_response_not_found",
        "previous_response_id",
    )
    named = " with id 'r0'" if previous == "r0" else ""
    assert error["message"] == f"Previous response{named} not found."
    assert server.calls.empty()


@pytest.mark.parametrize(
    ("body", "response"),
    [
        ({"store": False}, build_response("r1", "x")),
        ({}, build_response("r1", "x", status="failed")),
        ({}, build_response("../r1", "x")),
        ({}, {"id": "r1", "status": "completed", "output": 5}),
        ({}, {"error": {"message": "no"}}),
        ({"input": 5}, build_response("r1", "x")),
    ],
)
async def test_what_is_not_to_be_kept_is_not(
    start: Start, client: Client, server: FakeModelServer, body: dict[str, Any], response: dict[str, Any]
) -> None:
    gateway = await start()
    _, answer = await ask(gateway, client, server, response, **({"input": "x"} | body))
    assert answer.status == 200
    assert count_kept(gateway) == 0
    assert (await client.session.get(url(gateway, "/r1"))).status == 404


async def test_another_tenant_finds_nothing(
    start: Start, client: Client, server: FakeModelServer, tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    for tenant in ("alice", "bob"):
        (keys / tenant).write_text(f"key-of-{tenant}")
    gateway = await start(api_keys_dir=keys)
    alice, bob = ({"Authorization": f"Bearer key-of-{tenant}"} for tenant in ("alice", "bob"))
    await ask(gateway, client, server, build_response("r1", "secret"), input="one", headers=alice)
    assert (await client.session.get(url(gateway, "/r1"))).status == 401
    assert (await client.session.get(url(gateway, "/r1"), headers=bob)).status == 404
    assert (await client.session.delete(url(gateway, "/r1"), headers=bob)).status == 404
    body = json.dumps({"input": "x", "previous_response_id": "r1"})
    assert (await client.session.post(url(gateway), data=body, headers=bob)).status == 400
    assert (await client.session.get(url(gateway, "/r1"), headers=alice)).status == 200


async def test_where_nothing_is_kept_the_server_is_asked_and_going_on_is_refused(
    start: Start, client: Client, server: FakeModelServer
) -> None:
    gateway = await start(kept_responses=0)
    seen, _ = await ask(gateway, client, server, build_response("r1", "x"), input="one")
    assert seen == {"input": "one"}
    refused = await client.session.post(url(gateway), data=b'{"input": "x", "previous_response_id": "r1"}')
    error = (await refused.json())["error"]
    assert (refused.status, error["code"]) == (400, "unsupported_parameter")
    asked = asyncio.create_task(client.session.get(url(gateway, "/r1")))
    call = await server.next_call()
    await call.answer(b"{}", status=404)
    assert (call.target, (await asked).status) == (f"{PATH}/r1", 404)


async def test_a_conversation_that_grows_too_large_is_413(
    start: Start, client: Client, server: FakeModelServer
) -> None:
    gateway = await start(max_body_bytes=3000)
    await ask(gateway, client, server, build_response("r1", "y" * 2000), input="one")
    body = json.dumps({"input": "x" * 500, "previous_response_id": "r1"})
    refused = await client.session.post(url(gateway), data=body)
    assert (refused.status, (await refused.json())["error"]["code"]) == (413, "body_too_large")
    assert gateway.bodies.budget.held_bytes == 0


async def test_an_answer_that_nobody_uses_goes_by_itself(
    start: Start, client: Client, server: FakeModelServer, until: Any
) -> None:
    clock = Clock(1000.0)
    gateway = await start(clock=clock, kept_responses_seconds=5.0)
    await ask(gateway, client, server, build_response("r1", "eins"), input="one")
    assert count_kept(gateway) == 1
    clock.now += 6
    await until(lambda: count_kept(gateway) == 0)


async def test_a_client_that_leaves_early_leaves_nothing_behind(
    start: Start, client: Client, server: FakeModelServer, until: Any
) -> None:
    gateway = await start()
    asked = asyncio.create_task(client.session.post(url(gateway), data=b'{"input": "x", "stream": true}'))
    call = await server.next_call()
    await call.start_stream()
    await call.chunk(b'event: response.created\ndata: {"response": {"id": "r1"}}\n\n')
    (await asked).close()
    await until(lambda: gateway.queue.running == 0)
    assert (await client.session.get(url(gateway, "/r1"))).status == 404
