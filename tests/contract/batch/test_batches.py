"""OpenAI's own client: upload a file, make a batch of it, wait, read the output."""

import asyncio
import json
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest
from openai import APIStatusError, AsyncOpenAI
from openai.types import Batch

from tests.contract.batch.conftest import Model, Start, build_completion, build_input
from tests.doubles.model_server import Call

ENDPOINT = "/v1/chat/completions"


async def make(client: AsyncOpenAI, content: bytes, **changes: Any) -> Batch:
    file = await client.files.create(file=("requests.jsonl", content), purpose="batch")
    options: dict[str, Any] = {"endpoint": ENDPOINT, "completion_window": "24h", **changes}
    return await client.batches.create(input_file_id=file.id, **options)


async def wait_for(client: AsyncOpenAI, batch: Batch, *statuses: str) -> Batch:
    async with asyncio.timeout(20):
        while (found := await client.batches.retrieve(batch.id)).status not in statuses:
            await asyncio.sleep(0.01)
    return found


async def read_lines(client: AsyncOpenAI, file_id: str | None) -> list[dict[str, Any]]:
    if file_id is None:
        return []
    content = await client.files.content(file_id)
    return [json.loads(line) for line in content.text.splitlines()]


async def test_a_batch_is_answered(start: Start, model: Model) -> None:
    client = (await start()).client
    batch = await make(client, build_input(25), metadata={"of": "test"})
    assert (batch.status, batch.object, batch.endpoint) == ("validating", "batch", ENDPOINT)
    done = await wait_for(client, batch, "completed", "failed")
    assert done.status == "completed"
    assert done.request_counts is not None
    assert (done.request_counts.total, done.request_counts.completed, done.request_counts.failed) == (25, 25, 0)
    assert done.metadata == {"of": "test"} and done.error_file_id is None
    assert done.usage is not None and done.usage.total_tokens == 25 * 5
    assert done.usage.input_tokens_details.cached_tokens == 25
    assert done.in_progress_at and done.finalizing_at and done.completed_at
    lines = await read_lines(client, done.output_file_id)
    assert sorted(line["custom_id"] for line in lines) == sorted(f"r{number}" for number in range(25))
    for line in lines:
        assert line["id"].startswith("batch_req_") and line["error"] is None
        assert line["response"]["status_code"] == 200 and line["response"]["request_id"]
        said = line["response"]["body"]["choices"][0]["message"]["content"]
        assert said == line["custom_id"].replace("r", "SAY ")
    assert len(model.asked) == 25 and model.tenants == {"anonymous"}
    output = await client.files.retrieve(done.output_file_id or "")
    assert (output.purpose, output.filename) == ("batch_output", f"{batch.id}_output.jsonl")


async def test_what_a_request_is_to_blame_for_is_in_the_error_file(start: Start, model: Model) -> None:
    async def refuse_odd(call: Call) -> None:
        said = json.loads(call.body)["messages"][0]["content"]
        if int(said.split()[1]) % 2:
            await call.answer(b'{"error": {"message": "too long", "code": "x"}}', status=400)
        else:
            await call.answer(json.dumps(build_completion(said)).encode())

    model.reply = refuse_odd
    client = (await start()).client
    done = await wait_for(client, await make(client, build_input(6)), "completed")
    assert done.request_counts is not None
    assert (done.request_counts.completed, done.request_counts.failed) == (3, 3)
    errors = await read_lines(client, done.error_file_id)
    assert {line["custom_id"] for line in errors} == {"r1", "r3", "r5"}
    assert {line["response"]["status_code"] for line in errors} == {400}
    assert errors[0]["response"]["body"]["error"]["message"] == "too long"


async def test_what_the_server_is_to_blame_for_is_tried_again(start: Start, model: Model) -> None:
    refused: set[str] = set()

    async def refuse_first(call: Call) -> None:
        said = json.loads(call.body)["messages"][0]["content"]
        if said not in refused:
            refused.add(said)
            await call.answer(b"{}", status=503)
        else:
            await call.answer(json.dumps(build_completion(said)).encode())

    model.reply = refuse_first
    client = (await start()).client
    done = await wait_for(client, await make(client, build_input(3)), "completed")
    assert done.request_counts is not None and done.request_counts.completed == 3
    assert len(model.asked) == 6


async def test_lines_that_are_wrong_fail_the_batch_with_their_numbers(start: Start, model: Model) -> None:
    good = build_input(1).decode()
    wrong = [
        good,
        good,
        "{",
        good.replace("r0", "r1").replace("POST", "GET"),
        good.replace("r0", "r2").replace("chat/", ""),
        good.replace("r0", "r3").replace('"m"', '"other"'),
        good.replace("r0", "r4").replace('"model"', '"stream": true, "model"'),
        good.replace('"custom_id"', '"id"'),
        '{"custom_id": "r5", "method": "POST", "url": "/v1/chat/completions", "body": 1}',
    ]
    client = (await start()).client
    content = "\n".join(line.strip() for line in wrong).encode()
    done = await wait_for(client, await make(client, content), "failed", "completed")
    assert done.status == "failed" and done.failed_at and done.errors is not None and done.errors.data is not None
    assert [(error.line, error.code) for error in done.errors.data] == [
        (2, "duplicate_custom_id"),
        (3, "invalid_json_line"),
        (4, "invalid_method"),
        (5, "invalid_url"),
        (6, "model_not_found"),
        (7, "invalid_body"),
        (8, "missing_custom_id"),
        (9, "invalid_body"),
    ]
    assert not model.asked


async def test_a_batch_is_cancelled_and_keeps_what_was_answered(start: Start, model: Model) -> None:
    async def answer_some(call: Call) -> None:
        said = json.loads(call.body)["messages"][0]["content"]
        if int(said.split()[1]) < 2:
            await call.answer(json.dumps(build_completion(said)).encode())
        else:
            await call.gone.wait()

    model.reply = answer_some
    client = (await start()).client
    batch = await make(client, build_input(50))
    async with asyncio.timeout(10):
        while len(model.asked) < 5:
            await asyncio.sleep(0.01)
    cancelling = await client.batches.cancel(batch.id)
    assert cancelling.status == "cancelling" and cancelling.cancelling_at
    done = await wait_for(client, batch, "cancelled")
    assert done.cancelled_at and done.request_counts is not None and done.request_counts.completed == 2
    assert {line["custom_id"] for line in await read_lines(client, done.output_file_id)} == {"r0", "r1"}
    with pytest.raises(APIStatusError) as raised:
        await client.batches.cancel(batch.id)
    assert raised.value.status_code == 409


async def test_files_are_listed_read_and_deleted(start: Start) -> None:
    client = (await start()).client
    made = [
        await client.files.create(
            file=(f"{number}.jsonl", b"x" * number),
            purpose="batch",
            expires_after={"anchor": "created_at", "seconds": 3600},
        )
        for number in range(5)
    ]
    assert [file.id async for file in client.files.list(limit=2)] == [file.id for file in made][::-1]
    assert [file.id async for file in client.files.list(limit=3, order="asc")] == [file.id for file in made]
    assert [file.bytes for file in made] == list(range(5))
    assert made[0].expires_at == made[0].created_at + 3600
    assert (await client.files.content(made[4].id)).content == b"xxxx"
    assert (await client.files.content(made[0].id)).content == b""
    assert (await client.files.delete(made[4].id)).deleted
    with pytest.raises(APIStatusError) as raised:
        await client.files.retrieve(made[4].id)
    assert raised.value.status_code == 404
    assert (await client.files.list(purpose="batch_output")).data == []


async def test_a_file_in_use_is_not_deleted(start: Start, model: Model) -> None:
    async def never(call: Call) -> None:
        await call.gone.wait()

    model.reply = never
    client = (await start()).client
    batch = await make(client, build_input(1))
    with pytest.raises(APIStatusError, match="cancel that batch first") as raised:
        await client.files.delete(batch.input_file_id)
    assert raised.value.status_code == 409
    await client.batches.cancel(batch.id)
    await wait_for(client, batch, "cancelled")
    await client.files.delete(batch.input_file_id)


async def test_batches_are_listed_page_by_page(start: Start) -> None:
    client = (await start()).client
    made = [(await make(client, build_input(1))).id for _ in range(5)]
    assert [batch.id async for batch in client.batches.list(limit=2)] == made[::-1]


async def test_tenants_see_their_own_alone(start: Start, model: Model, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / "one").write_text("key-of-one")
    (keys / "two").write_text("key-of-two")
    gateway = await start(api_keys_dir=keys)
    one, two = gateway.client_of("key-of-one"), gateway.client_of("key-of-two")
    done = await wait_for(one, await make(one, build_input(1)), "completed")
    assert model.tenants == {"one"}
    assert (await two.files.list()).data == [] and (await two.batches.list()).data == []
    for asked in (
        two.files.retrieve(done.input_file_id),
        two.files.content(done.output_file_id or ""),
        two.batches.retrieve(done.id),
        two.batches.cancel(done.id),
    ):
        with pytest.raises(APIStatusError) as raised:
            await asked
        assert raised.value.status_code == 404
    with pytest.raises(APIStatusError, match="no file of yours"):
        await two.batches.create(
            input_file_id=done.input_file_id, endpoint="/v1/chat/completions", completion_window="24h"
        )
    with pytest.raises(APIStatusError) as raised:
        await gateway.client_of("key-of-nobody").files.list()
    assert raised.value.status_code == 401


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"endpoint": "/v1/moderations"}, "endpoint"),
        ({"completion_window": "1h"}, "completion_window"),
        ({"metadata": {"a": "b" * 513}}, "metadata"),
        ({"output_expires_after": {"anchor": "created_at", "seconds": 1}}, "output_expires_after.seconds"),
    ],
)
async def test_what_a_batch_may_not_say_is_refused_with_the_fix(
    start: Start, changes: dict[str, Any], param: str
) -> None:
    client = (await start()).client
    with pytest.raises(APIStatusError, match="give") as raised:
        await make(client, build_input(1), **changes)
    assert raised.value.status_code == 400 and raised.value.body["param"] == param  # type: ignore[index]


async def test_an_endpoint_is_taken_when_the_server_has_it(start: Start) -> None:
    client = (await start()).client
    changes: dict[str, Any] = {"endpoint": "/v1/embeddings"}
    batch = await make(client, build_input(1, **changes), **changes)
    assert batch.endpoint == "/v1/embeddings"


async def test_a_file_that_is_too_large_leaves_nothing(start: Start, tmp_path: Path) -> None:
    client = (await start(batch_max_file_bytes=100_000)).client
    with pytest.raises(APIStatusError, match="larger than 100000 bytes") as raised:
        await client.files.create(file=("a.jsonl", b"x" * 150_000), purpose="batch")
    assert raised.value.status_code == 413
    assert (await client.files.list()).data == []
    assert [path for path in (tmp_path / "batch").rglob("*") if path.is_file()] == []


async def test_a_tenant_keeps_so_many_files_and_bytes(start: Start) -> None:
    client = (await start(batch_max_files=2, batch_max_total_bytes=1000)).client
    first = await client.files.create(file=("a.jsonl", b"x" * 600), purpose="batch")
    with pytest.raises(APIStatusError, match="larger than 400 bytes"):
        await client.files.create(file=("b.jsonl", b"x" * 600), purpose="batch")
    await client.files.create(file=("b.jsonl", b"x"), purpose="batch")
    with pytest.raises(APIStatusError, match="at most 2 are kept: delete some"):
        await client.files.create(file=("c.jsonl", b"x"), purpose="batch")
    await client.files.delete(first.id)
    await client.files.create(file=("c.jsonl", b"x"), purpose="batch")


async def test_a_batch_in_a_bucket_is_answered_after_a_gateway_has_left(
    start: Start, model: Model, s3_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(call: Call) -> None:
        await call.gone.wait()

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    place = {"batch_store": f"s3://models/{token_hex(4)}", "batch_s3_endpoint": s3_endpoint}
    model.reply = never
    first = await start(**place)
    batch = await make(first.client, build_input(3))
    async with asyncio.timeout(10):
        while not model.asked:
            await asyncio.sleep(0.01)
    await first.sidecar.stop()
    model.reply = None
    second = await start(**place)
    done = await wait_for(second.client, batch, "completed")
    lines = await read_lines(second.client, done.output_file_id)
    assert sorted(line["custom_id"] for line in lines) == ["r0", "r1", "r2"]
