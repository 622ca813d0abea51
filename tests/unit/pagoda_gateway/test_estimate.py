import json

import pytest

from pagoda_gateway.estimate import DEFAULT_OUTPUT_TOKENS, MAX_OUTPUT_TOKENS, MAX_PROMPTS, estimate_request

PATH = "/v1/completions"


def test_estimate_is_a_quarter_of_the_bytes_and_the_wish() -> None:
    body = b'{"max_tokens": 10, "stream": true}'
    estimate = estimate_request(PATH, body)
    assert (estimate.sequences, estimate.tokens, estimate.stream) == (1, len(body) // 4 + 10, True)


def test_every_prompt_and_every_choice_is_a_sequence_with_its_own_tokens() -> None:
    body = json.dumps({"prompt": ["hello"] * 64, "n": 16, "max_tokens": 2000}).encode()
    estimate = estimate_request(PATH, body)
    assert (estimate.sequences, estimate.tokens) == (64 * 16, 16 * (len(body) // 4) + 64 * 16 * 2000)


@pytest.mark.parametrize(
    ("path", "body", "answer_tokens"),
    [
        ("/v1/responses", {"input": "hello" * 100, "max_output_tokens": 30}, 30),
        ("/v1/responses", {"input": [{"role": "user", "content": "x" * 400}], "instructions": "y" * 99}, None),
        ("/v1/responses", {"input": "x", "max_tokens": 7, "n": 9, "prompt": ["a", "b"]}, None),
        ("/v1/messages", {"system": "s" * 400, "messages": [{"role": "user", "content": "x"}], "max_tokens": 40}, 40),
        ("/v1/messages", {"messages": [], "max_tokens": 40, "max_output_tokens": 7, "n": 9, "best_of": 3}, 40),
        ("/v1/messages", {"messages": [], "max_tokens": "many"}, None),
    ],
)
def test_a_response_and_a_message_are_one_sequence_of_all_their_text(
    path: str, body: dict[str, object], answer_tokens: int | None
) -> None:
    raw = json.dumps(body).encode()
    wish = DEFAULT_OUTPUT_TOKENS if answer_tokens is None else answer_tokens
    estimate = estimate_request(path, raw)
    assert (estimate.sequences, estimate.tokens) == (1, len(raw) // 4 + wish)


@pytest.mark.parametrize(
    ("prompt", "sequences"),
    [
        ("text", 1),
        ([1, 2, 3], 1),
        ([[1, 2], [3]], 2),
        (["a", "b", "c"], 3),
        (['a \\" , b', '"', ""], 3),
        (["[", "]"], 2),
        ([], 1),
        ({"not": "a prompt"}, 1),
        (None, 1),
        (["a"] * 5000, MAX_PROMPTS),
        ([[1]] * 5000, MAX_PROMPTS),
    ],
)
def test_prompts_are_counted_by_what_the_server_takes_for_one(prompt: object, sequences: int) -> None:
    assert estimate_request(PATH, json.dumps({"prompt": prompt}).encode()).sequences == sequences


@pytest.mark.parametrize(
    ("fields", "sequences"),
    [
        (b'"n": 3', 3),
        (b'"n": 2.0', 2),
        (b'"n": 2, "best_of": 5', 5),
        (b'"n": null', 1),
        (b'"n": -4', 1),
        (b'"n": "many"', 1),
        (b'"n": 1e400', 1),
        (b'"n": ' + b"9" * 401, 1),
        (b'"stream": "wrong", "max_tokens": [], "n": 7', 7),
    ],
)
def test_choices_count_and_a_wrong_field_hides_no_other(fields: bytes, sequences: int) -> None:
    assert estimate_request("/v1/chat/completions", b"{%b}" % fields).sequences == sequences


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"\xff\xfe", b'{"max_tokens": "many"}', b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"],
)
def test_body_that_cannot_be_read_falls_back(body: bytes) -> None:
    assert estimate_request(PATH, body).tokens == len(body) // 4 + DEFAULT_OUTPUT_TOKENS


@pytest.mark.parametrize(("wish", "tokens"), [(-5, 0), (10**15, MAX_OUTPUT_TOKENS)])
def test_wish_is_kept_within_reason(wish: int, tokens: int) -> None:
    body = b'{"max_completion_tokens": %d}' % wish
    assert estimate_request(PATH, body).tokens == len(body) // 4 + tokens


def test_embeddings_have_no_output() -> None:
    body = b'{"input": "a text of some length"}'
    assert estimate_request("/v1/embeddings", body).tokens == len(body) // 4
