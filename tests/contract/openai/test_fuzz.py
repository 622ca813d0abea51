"""Any JSON at all: the answer is 200 or a 4xx OpenAI error, and the server is as healthy as before."""

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pagoda_server.http.fields import CHAT_FIELDS
from pagoda_server.http.schemas import ChatRequest, CompletionRequest

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
TOKEN_IDS = st.lists(st.integers(0, 250), min_size=1, max_size=8)
STOP = st.text(min_size=1, max_size=5)
PENALTY = st.floats(-2, 2)
GOOD: dict[str, st.SearchStrategy[Any]] = {
    "model": st.just("tiny"),
    "messages": st.lists(MESSAGE, min_size=1, max_size=4),
    "prompt": TEXT | st.lists(TEXT, min_size=1, max_size=3) | TOKEN_IDS | st.lists(TOKEN_IDS, min_size=1, max_size=3),
    "max_tokens": st.integers(5, 40),
    "max_completion_tokens": st.integers(5, 40),
    "min_tokens": st.integers(0, 5),
    "n": st.integers(1, 4),
    "stream": st.booleans(),
    "stop": STOP | st.lists(STOP, max_size=4),
    "temperature": st.floats(0, 2) | st.integers(0, 2),
    "top_p": st.floats(0, 1, exclude_min=True),
    "top_k": st.integers(-1, 400),
    "min_p": st.floats(0, 1),
    "seed": st.integers(-(2**63), 2**63 - 1),
    "presence_penalty": PENALTY,
    "frequency_penalty": PENALTY,
    "repetition_penalty": st.floats(0, 2, exclude_min=True),
    "ignore_eos": st.booleans(),
    "user": st.text(max_size=5),
    "logit_bias": st.dictionaries(st.integers(0, 250).map(str), st.floats(-100, 100), max_size=4),
    "allowed_token_ids": TOKEN_IDS,
    "bad_words": st.lists(STOP, max_size=4),
    "prompt_logprobs": st.integers(0, 3),
    "truncate_prompt_tokens": st.integers(-1, 60),
    "echo": st.booleans(),
    "best_of": st.integers(1, 4),
    "return_token_ids": st.booleans(),
    "return_tokens_as_token_ids": st.booleans(),
    "skip_special_tokens": st.booleans(),
    "add_special_tokens": st.booleans(),
    "continue_final_message": st.booleans(),
    "add_generation_prompt": st.booleans(),
    "cache_salt": STOP,
    "stream_options": st.fixed_dictionaries(
        {}, optional=dict.fromkeys(["include_usage", "include_obfuscation"], st.booleans())
    ),
}
CHOSEN = {"logprobs": st.booleans(), "top_logprobs": st.integers(0, 20)}
NUMBERED = {"logprobs": st.integers(0, 20)}
EDGES = st.sampled_from([-1, 0, 1, 17, 201, 2**31, 2**63, 2**64, 1e-320, 1e308, "", [], {}, [""], [[]], True])


def build_bodies(kind: type[Any], required: list[str], logprobs: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Good bodies; such with one field of any JSON or at an edge; any JSON."""
    fields = {name: value for name, value in (GOOD | logprobs).items() if name in kind.model_fields}
    optional = {name: value for name, value in fields.items() if name not in required}
    good = st.fixed_dictionaries({name: fields[name] for name in required}, optional=optional)
    names = st.sampled_from([*kind.model_fields, *CHAT_FIELDS]) | st.text(max_size=8)
    spoiled = st.builds(lambda body, name, value: {**body, name: value}, good, names, ANY_JSON | EDGES)
    return good | spoiled | ANY_JSON


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
@given(body=build_bodies(ChatRequest, ["model", "messages"], CHOSEN))
async def test_chat_answers_any_json(stack: Any, http: Any, body: Any) -> None:
    await check(stack, http, CHAT, body)


@FUZZ
@given(body=build_bodies(CompletionRequest, ["model", "prompt"], NUMBERED))
async def test_completions_answer_any_json(stack: Any, http: Any, body: Any) -> None:
    await check(stack, http, COMPLETIONS, body)


@FUZZ
@given(body=st.binary(max_size=40) | ANY_JSON.map(lambda value: json.dumps(value).encode()))
async def test_any_bytes_are_answered(stack: Any, http: Any, body: bytes) -> None:
    for path in (CHAT, COMPLETIONS, "/tokenize"):
        async with http.post(stack.url + path, data=body) as response:
            assert 400 <= response.status < 500, await response.text()
