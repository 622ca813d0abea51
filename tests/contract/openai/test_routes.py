"""The paths beside those that answer: models, tokens, versions, health, and the id that every answer has."""

import logging
from importlib.metadata import version
from typing import Any

import pytest

CHAT = "/v1/chat/completions"
MESSAGES: Any = [{"role": "user", "content": "Hi"}]


async def test_a_model_says_its_root_and_its_context(stack: Any, http: Any) -> None:
    async with http.get(f"{stack.url}/v1/models/tiny") as response:
        one = await response.json()
    assert (one["root"], one["parent"], one["max_model_len"]) == ("tiny", None, 200)
    async with http.get(f"{stack.url}/v1/models") as response:
        assert (await response.json())["data"] == [one]


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/tiny", "/health", "/ping", "/version", "/openapi.json"])
async def test_a_path_that_is_read_answers_head_too(stack: Any, http: Any, path: str) -> None:
    async with http.head(stack.url + path) as response:
        assert response.status == 200 and await response.read() == b""


async def test_version_and_ping(stack: Any, http: Any, post: Any) -> None:
    async with http.get(f"{stack.url}/version") as response:
        assert await response.json() == {"version": version("pagoda")}
    async with http.get(f"{stack.url}/ping") as response:
        assert response.status == 200
    assert (await post("/ping", {}))[0] == 200


async def test_tokens_of_a_prompt_and_back(stack: Any, post: Any) -> None:
    tokenizer = stack.api.tokenizer
    status, body = await post("/tokenize", {"model": "tiny", "prompt": "Hé <eos>", "return_token_strs": True})
    tokens = tokenizer.encode("Hé <eos>")
    assert status == 200 and body == {
        "count": len(tokens),
        "max_model_len": 200,
        "tokens": tokens,
        "token_strs": ["H", "Ã", "©", "Ġ", "<eos>"],
    }
    assert await post("/detokenize", {"model": "tiny", "tokens": tokens}) == (200, {"prompt": "Hé <eos>"})
    assert await post("/detokenize", {"tokens": []}) == (200, {"prompt": ""})


async def test_tokens_of_a_chat_are_those_that_the_engine_is_sent(stack: Any, post: Any) -> None:
    for more in ({}, {"add_generation_prompt": False}, {"continue_final_message": True}):
        body = {"model": "tiny", "messages": MESSAGES, **more}
        assert (await post(CHAT, body))[0] == 200
        told = (await post("/tokenize", body))[1]
        assert told["tokens"] == stack.engine.submitted[-1].prompt_token_ids and told["token_strs"] is None


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/detokenize", {"tokens": [10**6]}, "tokens"),
        ("/detokenize", {"tokens": [-1]}, "tokens"),
        ("/detokenize", {"tokens": "a"}, "tokens"),
        ("/detokenize", {"model": "other", "tokens": [1]}, "model"),
        ("/tokenize", {"prompt": "a", "messages": MESSAGES}, "prompt"),
        ("/tokenize", {"prompt": "a", "model": "other"}, "model"),
        ("/tokenize", {"messages": MESSAGES, "chat_template": "x"}, "chat_template"),
    ],
    ids=str,
)
async def test_what_cannot_be_tokens_is_refused_by_name(post: Any, path: str, body: Any, param: str) -> None:
    status, answer = await post(path, body)
    assert status in (400, 404) and answer["error"]["param"] == param


async def test_embeddings_say_what_there_is(post: Any) -> None:
    status, body = await post("/v1/embeddings", {"model": "tiny", "input": "Hi"})
    assert (status, body["error"]["code"]) == (404, "unsupported_endpoint")
    assert (
        "/v1/embeddings is not supported yet; use /v1/chat/completions or /v1/completions" in (body["error"]["message"])
    )


@pytest.mark.parametrize(("sent", "is_kept"), [("run-7/a", True), ("a b", False), ("x" * 129, False), ("", False)])
@pytest.mark.parametrize("path", ["/v1/models", "/v1/nothing"])
async def test_every_answer_has_the_requests_id(stack: Any, http: Any, path: str, sent: str, is_kept: bool) -> None:
    async with http.get(stack.url + path, headers={"X-Request-Id": sent}) as response:
        told = response.headers.getall("X-Request-Id")
    assert told == [sent] if is_kept else (len(told) == 1 and told[0].startswith("req_"))


async def test_a_stream_has_the_requests_id(stack: Any, http: Any) -> None:
    body = {"model": "tiny", "messages": MESSAGES, "stream": True}
    async with http.post(stack.url + CHAT, json=body, headers={"X-Request-Id": "run-8"}) as response:
        assert response.headers["X-Request-Id"] == "run-8" and b"[DONE]" in await response.read()


async def test_a_fault_of_ours_is_logged_with_the_requests_id(
    stack: Any, http: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack.api, "_plan_completion", lambda raw, tenant: 1 / 0)
    body = {"model": "tiny", "prompt": "Hi"}
    with caplog.at_level(logging.ERROR):
        async with http.post(f"{stack.url}/v1/completions", json=body, headers={"X-Request-Id": "run-9"}) as response:
            assert response.status == 500
    assert "request_id=run-9 kind=ZeroDivisionError" in caplog.text
