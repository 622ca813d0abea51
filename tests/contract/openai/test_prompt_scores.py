"""What is said of the prompt: `echo`, `prompt_logprobs`, and answers of no tokens for who wants likelihoods alone."""

from typing import Any

import pytest

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
MESSAGES: Any = [{"role": "user", "content": "Hi"}]
ANSWER = "Hello wörld 😀!"


def build(**more: Any) -> dict[str, Any]:
    return {"model": "tiny", "prompt": "Hé", "max_tokens": 50, **more}


async def test_an_echo_is_the_prompt_in_front_of_each_answer(stack: Any, post: Any) -> None:
    _, body = await post(COMPLETIONS, build(echo=True, prompt=["Hé", "<eos>Ho"], n=2))
    texts = [choice["text"] for choice in body["choices"]]
    assert texts == ["Hé" + ANSWER] * 2 + ["<eos>Ho" + ANSWER] * 2
    assert all(submit.sampling.prompt_logprobs is None for submit in stack.engine.submitted)
    tokens = stack.api.tokenizer.encode("Ho")
    _, body = await post(COMPLETIONS, build(echo=True, prompt=tokens))
    assert body["choices"][0]["text"] == "Ho" + ANSWER


async def test_a_truncated_prompt_is_echoed_as_it_was_read(stack: Any, post: Any) -> None:
    _, body = await post(COMPLETIONS, build(echo=True, prompt="abc", truncate_prompt_tokens=2))
    assert body["choices"][0]["text"] == "bc" + ANSWER


async def test_a_scored_echo_has_a_score_for_every_token_but_the_first(stack: Any, post: Any) -> None:
    _, body = await post(COMPLETIONS, build(echo=True, logprobs=1, n=2))
    assert [submit.sampling.prompt_logprobs for submit in stack.engine.submitted] == [1, 1]
    for choice in body["choices"]:
        scores, text = choice["logprobs"], choice["text"]
        prompt, answer = stack.api.tokenizer.encode("Hé"), stack.api.tokenizer.encode(ANSWER)
        assert scores["tokens"][:3] == ["H", "bytes:\\xc3", "bytes:\\xa9"]
        assert scores["token_logprobs"][: len(prompt)] == [None, -1.0, -2.0]
        assert scores["top_logprobs"][0] is None and scores["top_logprobs"][1]["bytes:\\xc3"] == -1.0
        assert len(scores["tokens"]) == len(prompt) + len(answer) + 1, "and the token that ended the answer"
        assert scores["text_offset"][:4] == [0, 1, 1, 2] and scores["text_offset"][-1] == len(text)
        assert scores["tokens"][-1] == "<eos>"


async def test_a_prompt_alone_is_scored_and_nothing_is_written(stack: Any, post: Any) -> None:
    _, body = await post(COMPLETIONS, build(echo=True, logprobs=2, max_tokens=0, prompt=[[5, 6, 7], [8]]))
    assert [submit.sampling.max_tokens for submit in stack.engine.submitted] == [0, 0]
    first, second = body["choices"]
    assert first["logprobs"]["token_logprobs"] == [None, -1.0, -2.0] and first["finish_reason"] == "length"
    assert second["logprobs"]["token_logprobs"] == [None]
    assert body["usage"]["completion_tokens"] == 0 and body["usage"]["prompt_tokens"] == 4


async def test_an_echo_of_nothing_more_runs_without_scores_too(stack: Any, post: Any) -> None:
    _, body = await post(COMPLETIONS, build(echo=True, max_tokens=0))
    assert body["choices"][0]["text"] == "Hé" and body["choices"][0]["logprobs"] is None
    assert stack.engine.submitted[0].sampling.prompt_logprobs == 0, "the engine runs nothing for nothing"


async def test_what_an_evaluator_sums_is_the_continuation(stack: Any, post: Any) -> None:
    """As lm-eval does it: one more token is asked for, and left out of the sum with the context."""
    stack.engine.answer = ""
    context, whole = [5, 6, 7], [5, 6, 7, 8, 9]
    _, body = await post(COMPLETIONS, build(prompt=whole, echo=True, logprobs=1, max_tokens=1, temperature=0))
    scores = body["choices"][0]["logprobs"]
    assert scores["token_logprobs"][len(context) : -1] == [-3.0, -4.0]


async def test_a_streamed_echo_comes_first(stack: Any) -> None:
    stream = await stack.client.completions.create(
        model="tiny", prompt="Hé", max_tokens=50, stream=True, echo=True, logprobs=1
    )
    choices = [chunk.choices[0] async for chunk in stream]
    assert choices[0].text.startswith("Hé") and "".join(choice.text for choice in choices) == "Hé" + ANSWER
    scores = [one for choice in choices if choice.logprobs for one in choice.logprobs.token_logprobs]
    assert scores[:3] == [None, -1.0, -2.0] and len(scores) == 3 + len(stack.api.tokenizer.encode(ANSWER)) + 1


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
async def test_prompt_logprobs_in_vllms_shape(stack: Any, post: Any, path: str) -> None:
    prompt = {"messages": MESSAGES} if path == CHAT else {"prompt": [4, 2, 7]}
    _, body = await post(path, {"model": "tiny", "n": 2, "prompt_logprobs": 2, **prompt})
    holder = body if path == CHAT else body["choices"][1]
    token_ids = stack.engine.submitted[0].prompt_token_ids
    assert [submit.sampling.prompt_logprobs for submit in stack.engine.submitted] == [2, None], "scored once"
    nothing, second, *_ = holder["prompt_logprobs"]
    assert nothing is None and len(holder["prompt_logprobs"]) == len(token_ids)
    name = stack.api.tokenizer.token_text
    assert (
        second
        == {
            str(token_ids[1]): {"logprob": -1.0, "rank": None, "decoded_token": name(token_ids[1])},
            "1": {"logprob": -0.5, "rank": 1, "decoded_token": name(1)},
            "2": {"logprob": -1.5, "rank": 2, "decoded_token": name(2)},
        }
        or path == COMPLETIONS
    )


async def test_a_chat_of_no_answer_is_its_prompts_scores(stack: Any, post: Any) -> None:
    _, body = await post(CHAT, {"model": "tiny", "messages": MESSAGES, "prompt_logprobs": 0, "max_tokens": 0})
    assert body["choices"][0]["message"]["content"] == "" and len(body["prompt_logprobs"]) > 1


async def test_more_scores_than_an_answer_may_hold_are_refused(stack: Any, post: Any) -> None:
    many = {"prompt": [[1] * 190] * 64, "n": 16, "max_tokens": 0, "echo": True}
    status, body = await post(COMPLETIONS, build(**many, logprobs=2))
    assert (status, body["error"]["param"]) == (400, "logprobs")
    assert "583680 log-probabilities of prompts" in body["error"]["message"]
    status, body = await post(COMPLETIONS, build(**many, logprobs=0, prompt_logprobs=20))
    assert (status, body["error"]["param"]) == (400, "prompt_logprobs") and not stack.engine.submitted


async def test_the_best_of_several_are_given_and_all_are_counted(stack: Any, post: Any) -> None:
    _, body = await post(COMPLETIONS, build(best_of=3, n=2, return_token_ids=True))
    assert [choice["index"] for choice in body["choices"]] == [0, 1]
    assert [submit.sampling.logprobs for submit in stack.engine.submitted] == [0, 0, 0]
    assert body["choices"][0]["logprobs"] is None
    one = len(body["choices"][0]["token_ids"])
    assert body["usage"]["completion_tokens"] == 3 * one
    for wrong in ({"best_of": 1, "n": 2}, {"best_of": 2, "stream": True}, {"best_of": 17}, {"best_of": True}):
        status, refused = await post(COMPLETIONS, build(**wrong))
        assert (status, refused["error"]["param"]) == (400, "best_of"), wrong


async def test_many_scores_are_written_beside_the_event_loop(stack: Any, post: Any) -> None:
    _, body = await post(COMPLETIONS, build(prompt=[1] * 120, echo=True, logprobs=20, max_tokens=0))
    assert len(body["choices"][0]["logprobs"]["top_logprobs"]) == 120
