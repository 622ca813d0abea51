"""The OpenAPI document says what the server takes and what it answers."""

from typing import Any

import jsonschema
import pytest

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
MESSAGES: Any = [{"role": "user", "content": "Hi"}]
SCORED = {"logprobs": True, "top_logprobs": 2, "prompt_logprobs": 1, "return_token_ids": True, "service_tier": "auto"}
REQUESTS: list[tuple[str, str, Any]] = [
    ("post", CHAT, {"model": "tiny", "messages": MESSAGES}),
    ("post", CHAT, {"model": "tiny", "messages": MESSAGES, **SCORED, "n": 2}),
    ("post", COMPLETIONS, {"model": "tiny", "prompt": "Hi"}),
    ("post", COMPLETIONS, {"model": "tiny", "prompt": "Hi", "echo": True, "logprobs": 1, "prompt_logprobs": 1}),
    ("post", "/v1/responses", {"model": "tiny", "input": "Hi", "temperature": 0.5}),
    ("post", "/v1/responses/input_tokens", {"model": "tiny", "input": "Hi"}),
    ("post", "/v1/messages", {"model": "tiny", "messages": MESSAGES, "max_tokens": 9}),
    ("post", "/v1/messages/count_tokens", {"model": "tiny", "messages": MESSAGES}),
    ("get", "/v1/models", None),
    ("get", "/v1/models/tiny", None),
    ("post", "/tokenize", {"prompt": "Hi", "return_token_strs": True}),
    ("post", "/detokenize", {"tokens": [5]}),
    ("get", "/version", None),
    ("get", "/ping", None),
]
REFUSED: list[tuple[str, Any]] = [
    (CHAT, {"model": "tiny"}),
    (CHAT, {"model": "tiny", "messages": MESSAGES, "surprise": 1}),
    (COMPLETIONS, {"model": "tiny", "prompt": "Hi", "n": 99}),
    ("/v1/responses", {"model": "tiny", "input": 5}),
    ("/v1/messages", {"model": "tiny", "messages": MESSAGES}),
    ("/tokenize", {"prompt": 5}),
    ("/detokenize", {"tokens": ["a"]}),
]


@pytest.fixture
async def document(stack: Any, http: Any) -> Any:
    async with http.get(f"{stack.url}/openapi.json") as response:
        assert response.content_type == "application/json"
        return await response.json()


def check(document: Any, schema: Any, value: Any) -> None:
    jsonschema.Draft202012Validator({**schema, "components": document["components"]}).validate(value)


def find(document: Any, path: str) -> Any:
    return document["paths"]["/v1/models/{model}" if path.startswith("/v1/models/") else path]


@pytest.mark.parametrize(("method", "path", "body"), REQUESTS, ids=str)
async def test_requests_and_answers_are_as_described(
    stack: Any, http: Any, document: Any, method: str, path: str, body: Any
) -> None:
    described = find(document, path)[method]
    if body is not None:
        check(document, described["requestBody"]["content"]["application/json"]["schema"], body)
    async with http.request(method, stack.url + path, json=body) as response:
        assert response.status == 200
        check(document, described["responses"]["200"]["content"]["application/json"]["schema"], await response.json())


@pytest.mark.parametrize(("path", "body"), REFUSED, ids=str)
async def test_what_is_refused_is_not_described_and_its_error_is(
    post: Any, document: Any, path: str, body: Any
) -> None:
    described = find(document, path)["post"]
    with pytest.raises(jsonschema.ValidationError):
        check(document, described["requestBody"]["content"]["application/json"]["schema"], body)
    status, answer = await post(path, body)
    assert status == 400
    check(document, described["responses"]["400"]["content"]["application/json"]["schema"], answer)


async def test_each_event_of_a_stream_is_as_described(stack: Any, document: Any) -> None:
    extra = {"return_token_ids": True}
    stream = await stack.client.chat.completions.create(
        model="tiny", messages=MESSAGES, stream=True, stream_options={"include_obfuscation": True}, extra_body=extra
    )
    event = document["paths"][CHAT]["post"]["responses"]["200"]["content"]["text/event-stream"]["schema"]["x-event"]
    async for chunk in stream:
        check(document, event, chunk.to_dict())


async def test_every_reference_has_its_target_and_every_operation_its_own_name(document: Any) -> None:
    def references(value: Any) -> list[str]:
        if isinstance(value, list):
            return [one for member in value for one in references(member)]
        if not isinstance(value, dict):
            return []
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [one for member in value.values() for one in references(member)]

    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert set(references(document)) <= known
    names = [one["operationId"] for path in document["paths"].values() for one in path.values()]
    assert len(names) == len(set(names)) >= 9
