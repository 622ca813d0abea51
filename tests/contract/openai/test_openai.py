"""What OpenAI's own client sees."""

import asyncio
from typing import Any

import aiohttp
import openai
import pytest
from prometheus_client.parser import text_string_to_metric_families

from pagoda_server.http.fields import CHAT_FIELDS, always

MESSAGES: Any = [{"role": "user", "content": "Hi"}]
CHAT = "/v1/chat/completions"
ANSWER = "Hello wörld 😀!"


def chat(**more: Any) -> dict[str, Any]:
    return {"model": "tiny", "messages": MESSAGES, **more}


async def test_models(stack: Any) -> None:
    assert [model.id async for model in stack.client.models.list()] == ["tiny"]
    assert (await stack.client.models.retrieve("tiny")).id == "tiny"


async def test_chat_whole(stack: Any) -> None:
    answer = await stack.client.chat.completions.create(model="tiny", messages=MESSAGES)
    assert answer.choices[0].message.content == ANSWER
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.prompt_tokens_details.cached_tokens == 2


async def test_chat_stream_with_usage(stack: Any) -> None:
    stream = await stack.client.chat.completions.create(
        model="tiny", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == ANSWER
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens > 0


async def test_the_engine_hears_whether_an_answer_is_streamed(stack: Any) -> None:
    stack.engine.gate = None
    await stack.client.chat.completions.create(model="tiny", messages=MESSAGES)
    async for _ in await stack.client.chat.completions.create(model="tiny", messages=MESSAGES, stream=True):
        pass
    assert [submit.is_streamed for submit in stack.engine.submitted] == [False, True]


async def test_stop_string_is_not_in_the_text_and_aborts(stack: Any) -> None:
    stack.engine.gate = None
    answer = await stack.client.chat.completions.create(model="tiny", messages=MESSAGES, stop=["wör"])
    assert answer.choices[0].message.content == "Hello "
    assert answer.choices[0].finish_reason == "stop"


async def test_n_seeds_differ_by_one(stack: Any) -> None:
    answer = await stack.client.chat.completions.create(model="tiny", messages=MESSAGES, n=3, seed=7)
    assert [choice.message.content for choice in answer.choices] == [ANSWER] * 3
    assert sorted(s.sampling.seed for s in stack.engine.submitted) == [7, 8, 9]


async def test_logprobs(stack: Any) -> None:
    answer = await stack.client.chat.completions.create(
        model="tiny", messages=MESSAGES, logprobs=True, top_logprobs=2, max_tokens=3
    )
    content = answer.choices[0].logprobs.content
    assert len(content) == 3 and all(len(token.top_logprobs) == 2 for token in content)
    assert answer.choices[0].finish_reason == "length"


@pytest.mark.parametrize("prompt", ["Hi", ["Hi", "Ho"], [1, 2], [[1, 2], [3]]])
async def test_completions_take_every_form_of_prompt(stack: Any, prompt: Any) -> None:
    answer = await stack.client.completions.create(model="tiny", prompt=prompt, max_tokens=50, logprobs=1)
    count = 2 if isinstance(prompt[0], (list, str)) and isinstance(prompt, list) else 1
    assert [choice.text for choice in answer.choices] == [ANSWER] * count
    assert answer.choices[0].logprobs.text_offset[0] == 0


@pytest.mark.parametrize("name", [name for name, asks in CHAT_FIELDS.items() if asks is not always] + ["surprise"])
async def test_fields_that_do_not_work_are_refused_by_name(stack: Any, post: Any, name: str) -> None:
    status, body = await post(CHAT, chat(**{name: [1]}))
    assert status == 400 and body["error"]["param"] == name and name in body["error"]["message"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n", 17),
        ("stop", ["a"] * 65),
        ("stop", ""),
        ("top_logprobs", 21),
        ("temperature", "1"),
        ("top_p", 0),
        ("max_tokens", 0),
        ("seed", 1.5),
        ("stream", "yes"),
        ("model", 3),
        ("min_p", 2),
        ("stream_options", []),
        ("min_tokens", 10_000),
    ],
)
async def test_bad_values_are_refused_with_the_field(stack: Any, post: Any, field: str, value: Any) -> None:
    status, body = await post(CHAT, chat(**{field: value}))
    assert status == 400 and body["error"]["param"] == field, body


async def test_errors_of_other_kinds(stack: Any, post: Any) -> None:
    assert (await post(CHAT, chat(model="x")))[1]["error"]["code"] == "model_not_found"
    long = chat(messages=[{"role": "user", "content": "x" * 500}])
    assert (await post(CHAT, long))[1]["error"]["code"] == "context_length_exceeded"
    assert (await post(CHAT, b"x" * 200_000))[0] == 413
    assert (await post("/v1/nothing", {}))[0] == 404


async def test_an_engine_that_fails_on_a_request_is_an_error_to_its_client(stack: Any, post: Any) -> None:
    stack.engine.fails = True
    status, body = await post(CHAT, chat())
    assert (status, body["error"]["code"]) == (500, "engine_error")
    with pytest.raises(openai.APIError, match="the engine failed on this request"):
        async for _ in await stack.client.chat.completions.create(model="tiny", messages=MESSAGES, stream=True):
            pass
    assert stack.engine.aborted.empty(), "it has ended already"


async def test_disconnect_aborts(stack: Any) -> None:
    stack.engine.gate = asyncio.Event()
    stream = await stack.client.chat.completions.create(model="tiny", messages=MESSAGES, stream=True)
    await anext(aiter(stream))
    await stream.close()
    assert await asyncio.wait_for(stack.engine.aborted.get(), 5) == stack.engine.submitted[0].request_id
    ends = await count_ends(stack)
    assert ends == {"stop": 0, "length": 0, "abort": 1, "error": 0}


async def test_an_answer_that_a_stop_string_ends_is_no_abort(stack: Any) -> None:
    await stack.client.chat.completions.create(model="tiny", messages=MESSAGES, stop=["wör"])
    assert await count_ends(stack) == {"stop": 1, "length": 0, "abort": 0, "error": 0}


async def count_ends(stack: Any) -> dict[str, float]:
    async with aiohttp.ClientSession() as http, http.get(stack.url + "/metrics") as response:
        page = await response.text()
    samples = [sample for family in text_string_to_metric_families(page) for sample in family.samples]
    ends = [sample for sample in samples if sample.name == "vllm:request_success_total"]
    return {sample.labels["finished_reason"]: sample.value for sample in ends}


async def test_malformed_json_does_not_disturb_a_running_stream(stack: Any, post: Any) -> None:
    stack.engine.gate = asyncio.Event()
    stream = await stack.client.chat.completions.create(model="tiny", messages=MESSAGES, stream=True)
    status, body = await post(CHAT, b'{"model": ')
    assert status == 400 and body["error"]["code"] == "invalid_json"
    stack.engine.gate.set()
    assert "".join([c.choices[0].delta.content or "" async for c in stream]) == ANSWER


async def test_operations_endpoints(stack: Any, post: Any) -> None:
    status, body = await post("/tokenize", {"messages": MESSAGES})
    assert status == 200 and body["count"] == len(body["tokens"]) > 0
    async with aiohttp.ClientSession() as http:
        for path in ("/health", "/ready", "/load", "/metrics"):
            async with http.get(stack.url + path) as response:
                assert response.status == 200


async def test_every_series_says_whose_it_is(stack: Any) -> None:
    await stack.client.chat.completions.create(model="tiny", messages=MESSAGES)
    async with aiohttp.ClientSession() as http, http.get(stack.url + "/metrics") as response:
        families = list(text_string_to_metric_families(await response.text()))
    ours, aliases = (
        {family.name: family.samples for family in families if family.name.startswith(prefix)}
        for prefix in ("pagoda_server_", "vllm:")
    )
    assert len(ours) + len(aliases) == len(families)
    labels = {"namespace": "ns", "model_deployment": "chat", "model_name": "tiny"}
    assert all(labels.items() <= sample.labels.items() for samples in ours.values() for sample in samples)
    labels = {"model_name": "tiny", "engine": "0"}
    assert all(labels.items() <= sample.labels.items() for samples in aliases.values() for sample in samples)
    assert {"num_requests_running", "prompt_tokens", "time_to_first_token_seconds", "request_success"} <= {
        name.removeprefix("vllm:") for name in aliases
    }
    finished = [sample for sample in ours["pagoda_server_request_success"] if sample.name.endswith("_total")]
    assert sum(sample.value for sample in finished) == 1
    assert {sample.labels["finished_reason"] for sample in finished} == {"stop", "length", "abort", "error"}
