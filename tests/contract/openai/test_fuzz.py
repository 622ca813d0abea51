"""Any JSON at all: the answer is 200 or a 4xx OpenAI error, and the server is as healthy as before."""

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pagoda_server.http.schemas import REFUSED, ChatRequest, CompletionRequest

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
TEXT = st.text(max_size=30) | st.sampled_from(["<eos>", "<eo", "s>", "Hello <eos> there", "x" * 300])
PART = st.fixed_dictionaries({"type": st.just("text"), "text": TEXT})
MESSAGE = st.fixed_dictionaries(
    {
        "role": st.sampled_from(["system", "developer", "user", "assistant"]),
        "content": TEXT | st.lists(PART, max_size=3),
    }
)
TOKEN_IDS = st.lists(st.integers(-1, 300), max_size=8)
PLAUSIBLE: dict[str, st.SearchStrategy[Any]] = {
    "model": st.just("tiny"),
    "messages": st.lists(MESSAGE, max_size=4),
    "prompt": TEXT | st.lists(TEXT, max_size=3) | TOKEN_IDS | st.lists(TOKEN_IDS, max_size=3),
    "max_tokens": st.integers(0, 210),
    "max_completion_tokens": st.integers(0, 210),
    "min_tokens": st.integers(0, 10),
    "n": st.integers(0, 4),
    "stream": st.booleans(),
    "stream_options": st.fixed_dictionaries({}, optional={"include_usage": st.booleans()}),
    "stop": TEXT | st.lists(TEXT, max_size=5),
    "temperature": st.floats(0, 2) | st.integers(0, 2),
    "top_p": st.floats(0, 1),
    "top_k": st.integers(-1, 400),
    "min_p": st.floats(0, 1),
    "seed": st.integers(-(2**64), 2**64),
    "presence_penalty": st.floats(-2, 2),
    "frequency_penalty": st.floats(-2, 2),
    "repetition_penalty": st.floats(0, 2),
    "logprobs": st.booleans() | st.integers(0, 20),
    "top_logprobs": st.integers(0, 20),
    "response_format": st.fixed_dictionaries({"type": st.sampled_from(["text", "json_object"])}),
    "ignore_eos": st.booleans(),
    "user": st.text(max_size=5),
}


def build_bodies(kind: type[Any], required: list[str]) -> st.SearchStrategy[Any]:
    """Mostly plausible bodies, some with one field of any JSON, some that are any JSON."""
    good = {name: PLAUSIBLE[name] for name in kind.model_fields}
    plausible = st.fixed_dictionaries(
        {name: good[name] for name in required},
        optional={name: value for name, value in good.items() if name not in required},
    )
    names = st.sampled_from([*good, *REFUSED]) | st.text(max_size=8)
    spoiled = st.builds(lambda body, name, value: {**body, name: value}, plausible, names, ANY_JSON)
    return plausible | spoiled | ANY_JSON


FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


async def check(stack: Any, http: Any, path: str, body: Any) -> None:
    async with http.post(stack.url + path, data=json.dumps(body).encode()) as response:
        text = await response.text()
        if response.status != 200:
            assert 400 <= response.status < 500, text
            assert set(json.loads(text)["error"]) == {"message", "type", "param", "code"}
        elif response.content_type == "text/event-stream":
            assert text.endswith("data: [DONE]\n\n") and '"error"' not in text
        else:
            assert json.loads(text)["choices"]
    async with http.get(stack.url + "/health") as response:
        assert response.status == 200


@FUZZ
@given(body=build_bodies(ChatRequest, ["model", "messages"]))
async def test_chat_answers_any_json(stack: Any, http: Any, body: Any) -> None:
    await check(stack, http, CHAT, body)


@FUZZ
@given(body=build_bodies(CompletionRequest, ["model", "prompt"]))
async def test_completions_answer_any_json(stack: Any, http: Any, body: Any) -> None:
    await check(stack, http, COMPLETIONS, body)


@FUZZ
@given(body=st.binary(max_size=40) | ANY_JSON.map(lambda value: json.dumps(value).encode()))
async def test_any_bytes_are_answered(stack: Any, http: Any, body: bytes) -> None:
    for path in (CHAT, COMPLETIONS, "/tokenize"):
        async with http.post(stack.url + path, data=body) as response:
            assert 400 <= response.status < 500, await response.text()
