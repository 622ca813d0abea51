import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pagoda_gateway.check import Judged, read_verdict
from pagoda_gateway.estimate import MAX_CHOICES, MAX_OUTPUT_TOKENS, MAX_PROMPTS, estimate_request
from pagoda_gateway.load import is_metrics_document
from pagoda_gateway.weight import Weight

patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)
FIELDS = ["prompt", "n", "best_of", "max_tokens", "max_completion_tokens", "stream"]
BODIES = st.dictionaries(st.sampled_from(FIELDS), ANYTHING).map(lambda fields: json.dumps(fields).encode())
BATCHES = st.lists(st.text(), min_size=1) | st.lists(st.lists(st.integers(0)), min_size=1)
PATHS = st.sampled_from(["/v1/completions", "/v1/chat/completions", "/v1/embeddings", "/v1/else"])


@patient
@given(PATHS, st.binary() | BODIES)
def test_any_bytes_give_an_estimate_within_bounds(path: str, body: bytes) -> None:
    estimate = estimate_request(path, body)
    assert 1 <= estimate.sequences <= MAX_PROMPTS * MAX_CHOICES
    assert 0 <= estimate.tokens <= MAX_CHOICES * len(body) + estimate.sequences * MAX_OUTPUT_TOKENS


@patient
@given(st.integers(1, 16), st.integers(0, 1000), BATCHES)
def test_valid_batches_are_counted_exactly(choices: int, answer: int, prompts: list[object]) -> None:
    body = json.dumps({"prompt": prompts, "n": choices, "max_tokens": answer}).encode()
    estimate = estimate_request("/v1/completions", body)
    assert estimate.sequences == choices * len(prompts)
    assert estimate.tokens == choices * (len(body) // 4) + estimate.sequences * answer


VERDICTS = st.dictionaries(st.sampled_from(["sequences", "tokens", "error"]), ANYTHING).map(
    lambda fields: json.dumps(fields).encode()
)


@patient
@given(st.integers(100, 599), st.binary() | VERDICTS)
def test_any_answer_to_a_check_is_a_weight_or_a_refusal_or_says_nothing(status: int, body: bytes) -> None:
    try:
        weight = read_verdict(status, body)
    except Judged as judged:
        assert 400 <= status < 500 and judged.body == body and "error" in json.loads(body)
    else:
        assert weight is None or (weight.sequences >= 1 and weight.tokens >= 0 and isinstance(weight, Weight))


@patient
@given(st.binary())
def test_any_bytes_are_a_metrics_document_or_not(raw: bytes) -> None:
    assert not is_metrics_document(raw) or raw.decode() is not None
