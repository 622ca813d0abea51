"""Fields that speak of tokens: what the engine is told of them, and what answers say."""

from typing import Any

import pytest

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
MESSAGES: Any = [{"role": "user", "content": "Hi"}]
ANSWER = "Hello wörld 😀!"


def build(path: str, **more: Any) -> dict[str, Any]:
    prompt = {"messages": MESSAGES} if path == CHAT else {"prompt": "Hi", "max_tokens": 50}
    return {"model": "tiny", **prompt, **more}


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
async def test_the_engine_is_told_of_every_token_field(stack: Any, post: Any, path: str) -> None:
    largest = stack.api.engine.hello.vocab_size - 1
    asked = {
        "logit_bias": {"05": 2, "5": 1, str(largest): -100, "7": 0},
        "allowed_token_ids": [5, 6.0],
        "prompt_logprobs": 3,
        "cache_salt": "mine",
    }
    assert (await post(path, build(path, **asked)))[0] == 200
    (submit,) = stack.engine.submitted
    sampling = submit.sampling
    assert sampling.logit_bias == ((5, 1.0), (largest, -100.0))
    assert sampling.allowed_token_ids == (5, 6) and sampling.prompt_logprobs == 3
    assert (submit.cache_salt, submit.prefix_salt) == ("", "mine")


async def test_a_bad_word_is_held_back_with_and_without_a_space_before_it(stack: Any, post: Any) -> None:
    assert (await post(CHAT, build(CHAT, bad_words=["world", " there"])))[0] == 200
    encode = stack.api.tokenizer.encode
    told = stack.engine.submitted[0].sampling.bad_words
    assert told == (tuple(encode("world")), tuple(encode(" world")), tuple(encode(" there")))


@pytest.mark.parametrize("field", ["stop_token_ids", "allowed_token_ids", "logit_bias"])
async def test_a_token_that_the_model_does_not_have_is_refused_by_name(stack: Any, post: Any, field: str) -> None:
    size = stack.api.engine.hello.vocab_size
    value: Any = {str(size): 1} if field == "logit_bias" else [size]
    status, body = await post(CHAT, build(CHAT, **{field: value}))
    assert (status, body["error"]["param"]) == (400, field)
    assert body["error"]["message"] == f"{field} has token id {size}; the largest is {size - 1}"


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"logit_bias": {"5": 101}}, "logit_bias"),
        ({"logit_bias": {"five": 1}}, "logit_bias"),
        ({"logit_bias": {str(at): 1 for at in range(1025)}}, "logit_bias"),
        ({"logit_bias": [5]}, "logit_bias"),
        ({"allowed_token_ids": []}, "allowed_token_ids"),
        ({"bad_words": [""]}, "bad_words"),
        ({"bad_words": ["a" * 1000] * 5}, "bad_words"),
        ({"bad_words": ["😀" * 1000] * 4}, "bad_words"),
        ({"bad_words": ["a"] * 129}, "bad_words"),
        ({"prompt_logprobs": 21}, "prompt_logprobs"),
        ({"prompt_logprobs": 1, "stream": True}, "prompt_logprobs"),
        ({"truncate_prompt_tokens": 0}, "truncate_prompt_tokens"),
        ({"truncate_prompt_tokens": -2}, "truncate_prompt_tokens"),
        ({"cache_salt": ""}, "cache_salt"),
        ({"cache_salt": "a" * 513}, "cache_salt"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"request_id": "a b"}, "request_id"),
        ({"service_tier": "gold"}, "service_tier"),
        ({"verbosity": "none"}, "verbosity"),
        ({"user": {"a": 1}}, "user"),
        ({"stream_options": {"include_obfuscation": True}}, "stream_options"),
    ],
    ids=str,
)
@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
async def test_a_value_out_of_range_is_refused_by_name(
    stack: Any, post: Any, path: str, asked: dict[str, Any], param: str
) -> None:
    status, body = await post(path, build(path, **asked))
    assert (status, body["error"]["param"]) == (400, param), body
    assert not stack.engine.submitted


async def test_a_thousand_wrong_biases_are_one_error(post: Any) -> None:
    _, body = await post(CHAT, build(CHAT, logit_bias=dict.fromkeys(map(str, range(5000)), "x")))
    assert body["error"]["message"].startswith("logit_bias is an object; give an object of at most 1024 token ids")


@pytest.mark.parametrize(("wish", "answer", "kept"), [(3, 10, 3), (-1, 10, 190), (-1, None, 199), (500, 1, 198)])
async def test_the_last_tokens_of_a_prompt_are_kept(
    stack: Any, post: Any, wish: int, answer: int | None, kept: int
) -> None:
    prompt = list(range(1, 199)) if kept == 198 else [1 + at % 200 for at in range(300)]
    asked = {"prompt": prompt, "max_tokens": answer, "truncate_prompt_tokens": wish}
    assert (await post(COMPLETIONS, build(COMPLETIONS, **asked)))[0] == 200
    assert stack.engine.submitted[0].prompt_token_ids == prompt[-kept:]


async def test_a_chat_is_truncated_too(stack: Any, post: Any) -> None:
    long = [{"role": "user", "content": "x" * 5000}]
    assert (await post(CHAT, build(CHAT, messages=long)))[0] == 400
    assert (await post(CHAT, build(CHAT, messages=long, truncate_prompt_tokens=-1, max_tokens=20)))[0] == 200
    assert len(stack.engine.submitted[0].prompt_token_ids) == 180
    assert stack.api.tokenizer.decode(stack.engine.submitted[0].prompt_token_ids).endswith("x\n<|assistant|>")


async def test_a_longer_answer_than_fits_is_what_fits(stack: Any, post: Any) -> None:
    assert (await post(COMPLETIONS, build(COMPLETIONS, prompt=[1] * 150, max_tokens=500)))[0] == 200
    assert stack.engine.submitted[0].sampling.max_tokens == 50
    status, body = await post(COMPLETIONS, build(COMPLETIONS, prompt=[1] * 150, max_tokens=500, min_tokens=51))
    assert (status, body["error"]["param"]) == (400, "min_tokens")
    assert "above the 50 that the answer may have" in body["error"]["message"]


async def test_token_ids_of_a_whole_answer_stand_where_vllms_do(stack: Any, post: Any) -> None:
    tokens = [*stack.api.tokenizer.encode(ANSWER), 0]
    _, chat = await post(CHAT, build(CHAT, return_token_ids=True, n=2))
    assert [choice["token_ids"] for choice in chat["choices"]] == [tokens, tokens]
    assert chat["prompt_token_ids"] == stack.engine.submitted[0].prompt_token_ids
    _, whole = await post(COMPLETIONS, build(COMPLETIONS, return_token_ids=True, prompt=[[1, 2], [3]]))
    assert [choice["prompt_token_ids"] for choice in whole["choices"]] == [[1, 2], [3]]
    assert whole["choices"][1]["token_ids"] == tokens and "prompt_token_ids" not in whole
    assert "token_ids" not in (await post(CHAT, build(CHAT)))[1]["choices"][0]


async def test_token_ids_stop_with_the_stop_string_that_they_complete(stack: Any, post: Any) -> None:
    _, body = await post(CHAT, build(CHAT, return_token_ids=True, stop="wör"))
    assert stack.api.tokenizer.decode(body["choices"][0]["token_ids"]) == "Hello wör"


async def test_streamed_token_ids_are_all_there_and_the_prompts_are_in_the_first_chunk(stack: Any) -> None:
    tokens = [*stack.api.tokenizer.encode(ANSWER), 0]
    extra = {"return_token_ids": True}
    create = stack.client.chat.completions.create
    chunks = [one async for one in await create(model="tiny", messages=MESSAGES, stream=True, extra_body=extra)]
    prompts = [getattr(chunk, "prompt_token_ids", None) for chunk in chunks]
    assert prompts == [stack.engine.submitted[0].prompt_token_ids, *[None] * (len(chunks) - 1)]
    assert [one for chunk in chunks for one in getattr(chunk.choices[0], "token_ids", None) or ()] == tokens
    completions = stack.client.completions.create
    events = await completions(model="tiny", prompt=[5], max_tokens=50, stream=True, extra_body=extra)
    choices = [chunk.choices[0] async for chunk in events]
    assert [getattr(one, "prompt_token_ids", None) for one in choices] == [[5], *[None] * (len(choices) - 1)]
    assert [token_id for one in choices for token_id in one.token_ids] == tokens


@pytest.mark.parametrize("stream", [False, True])
async def test_special_tokens_are_shown_where_they_are_asked_for(stack: Any, stream: bool) -> None:
    stack.engine.answer = "a<eos>b"
    for shown, text in ((None, "ab"), (True, "ab"), (False, "a<eos>b")):
        extra = {"skip_special_tokens": shown}
        answer = await stack.client.completions.create(
            model="tiny", prompt="Hi", max_tokens=50, stream=stream, extra_body=extra
        )
        parts = [chunk.choices[0].text async for chunk in answer] if stream else [answer.choices[0].text]
        assert "".join(parts) == text


async def test_a_stop_token_is_text_where_what_stops_is_included(stack: Any, post: Any) -> None:
    asked = {"include_stop_str_in_output": True, "skip_special_tokens": False}
    _, body = await post(COMPLETIONS, build(COMPLETIONS, **asked))
    assert body["choices"][0]["text"] == ANSWER + "<eos>"
    _, body = await post(COMPLETIONS, build(COMPLETIONS, include_stop_str_in_output=True))
    assert body["choices"][0]["text"] == ANSWER


async def test_tokens_may_be_named_by_their_ids(stack: Any, post: Any) -> None:
    first = f"token_id:{stack.api.tokenizer.encode(ANSWER)[0]}"
    _, body = await post(COMPLETIONS, build(COMPLETIONS, logprobs=1, return_tokens_as_token_ids=True))
    scores = body["choices"][0]["logprobs"]
    assert scores["tokens"][0] == first and set(scores["top_logprobs"][0]) == {"token_id:1", first}
    _, body = await post(CHAT, build(CHAT, logprobs=True, top_logprobs=1, return_tokens_as_token_ids=True))
    token = body["choices"][0]["logprobs"]["content"][0]
    assert token["token"] == first and token["top_logprobs"][0]["token"] == "token_id:1"
    assert bytes(token["bytes"]) == b"Hello"


async def test_a_part_of_a_character_has_its_own_bytes_and_its_own_name(stack: Any, post: Any) -> None:
    stack.engine.answer = "😀"
    _, body = await post(CHAT, build(CHAT, logprobs=True))
    content = body["choices"][0]["logprobs"]["content"]
    assert bytes(byte for token in content for byte in token["bytes"]) == "😀".encode()
    assert [token["token"] for token in content] == ["\\xf0", "\\x9f", "\\x98", "\\x80"]
    _, body = await post(COMPLETIONS, build(COMPLETIONS, logprobs=0))
    scores = body["choices"][0]["logprobs"]
    assert scores["tokens"] == ["bytes:\\xf0", "bytes:\\x9f", "bytes:\\x98", "bytes:\\x80"]
    assert [list(top) for top in scores["top_logprobs"]] == [[name] for name in scores["tokens"]]


async def test_the_answers_id_may_be_the_clients(stack: Any, post: Any) -> None:
    assert (await post(CHAT, build(CHAT, request_id="run-7")))[1]["id"] == "chatcmpl-run-7"
    assert (await post(COMPLETIONS, build(COMPLETIONS, request_id="run-7")))[1]["id"] == "cmpl-run-7"


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
async def test_the_tier_is_told_where_one_is_asked_for(stack: Any, post: Any, path: str) -> None:
    assert "service_tier" not in (await post(path, build(path)))[1]
    for tier in ("auto", "default", "flex", "scale", "priority", "fast"):
        assert (await post(path, build(path, service_tier=tier)))[1]["service_tier"] == "default"
    chunks = await stack.client.chat.completions.create(
        model="tiny", messages=MESSAGES, stream=True, service_tier="flex", stream_options={"include_usage": True}
    )
    assert {chunk.service_tier async for chunk in chunks} == {"default"}


async def test_obfuscated_chunks_have_lengths_that_tell_little(stack: Any) -> None:
    options = {"include_obfuscation": True}
    stream = await stack.client.chat.completions.create(
        model="tiny", messages=MESSAGES, stream=True, stream_options=options
    )
    chunks = [chunk async for chunk in stream]
    texts = [chunk.choices[0].delta.content or "" for chunk in chunks]
    assert "".join(texts) == ANSWER
    assert {len(text.encode()) + len(chunk.obfuscation) for text, chunk in zip(texts, chunks, strict=True)} == {32}
    assert len({chunk.obfuscation for chunk in chunks}) == len(chunks)
