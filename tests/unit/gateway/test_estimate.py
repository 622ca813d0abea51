import pytest

from pagoda_gateway.estimate import DEFAULT_OUTPUT_TOKENS, MOST_OUTPUT_TOKENS, estimate_request

PATH = "/v1/completions"


def test_estimate_is_a_quarter_of_the_bytes_and_the_wish() -> None:
    body = b'{"max_tokens": 10, "stream": true}'
    estimate = estimate_request(PATH, body)
    assert (estimate.tokens, estimate.stream) == (len(body) // 4 + 10, True)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff\xfe", b'{"max_tokens": "many"}'])
def test_body_that_cannot_be_read_falls_back(body: bytes) -> None:
    assert estimate_request(PATH, body).tokens == len(body) // 4 + DEFAULT_OUTPUT_TOKENS


@pytest.mark.parametrize(("wish", "tokens"), [(-5, 0), (10**15, MOST_OUTPUT_TOKENS)])
def test_wish_is_kept_within_reason(wish: int, tokens: int) -> None:
    body = b'{"max_completion_tokens": %d}' % wish
    assert estimate_request(PATH, body).tokens == len(body) // 4 + tokens


def test_embeddings_have_no_output() -> None:
    body = b'{"input": "a text of some length"}'
    assert estimate_request("/v1/embeddings", body).tokens == len(body) // 4
