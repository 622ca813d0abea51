"""Missing is missing: no pod that cannot tell its load counts as 0."""

from typing import Any

import msgspec
import pytest

from pagoda_guard.parsing import BadInput
from pagoda_operator.cluster.loads import body_of, missing_bytes, parse_load
from pagoda_operator.plan.loads import LoadUnknownError, sum_demand

LOAD: dict[str, Any] = {"tokens_per_second": 5, "demand_tokens_per_second": 7.5, "capacity_tokens_per_second": None}
BODY = msgspec.json.encode(LOAD)
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)


def pod(name: str, *, ready: bool = True, ip: str = "127.0.0.1") -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    return {"metadata": {"name": name, "uid": name}, "status": {"podIP": ip, "conditions": conditions}}


def test_demand_is_the_sum_over_ready_pods() -> None:
    loads = {"a": parse_load(BODY), "b": parse_load(BODY)}
    assert sum_demand([pod("a"), pod("b"), pod("c", ready=False)], loads) == 15


def test_a_ready_pod_without_a_figure_makes_the_demand_unknown() -> None:
    with pytest.raises(LoadUnknownError, match="b"):
        sum_demand([pod("a"), pod("b")], {"a": parse_load(BODY)})


def test_no_ready_pod_makes_the_demand_unknown() -> None:
    with pytest.raises(LoadUnknownError, match="no pod is ready"):
        sum_demand([pod("a", ready=False)], {})


def test_an_error_about_many_pods_stays_short() -> None:
    with pytest.raises(LoadUnknownError) as raised:
        sum_demand([pod(f"pod-{i}") for i in range(1000)], {})
    assert str(raised.value) == "no fresh load from ready pods: pod-0, pod-1, pod-10 and 997 more"


@pytest.mark.parametrize("capacity", [0, 1e-300, -1, 1e16])
def test_a_capacity_that_nothing_could_be_divided_by_is_refused(capacity: float) -> None:
    with pytest.raises(BadInput):
        parse_load(msgspec.json.encode({**LOAD, "capacity_tokens_per_second": capacity}))


def test_a_newer_gateway_may_say_more_than_is_asked_for() -> None:
    raw = msgspec.json.encode({**LOAD, "capacity_tokens_per_second": 9, "capacity_source": "dreamt", "new": [1]})
    assert parse_load(raw).capacity_source == "measured"


def test_an_answer_is_read_until_it_is_whole_and_no_further() -> None:
    assert missing_bytes(ANSWER) == 0
    assert missing_bytes(ANSWER[:-3]) == 3
    assert body_of(ANSWER) == BODY
    without_length = ANSWER.replace(b"Content-Length", b"X")
    assert missing_bytes(without_length) > 0
    assert body_of(without_length) == BODY


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"", "no answer"),
        (ANSWER[:-1], "ends after"),
        (ANSWER.replace(b"200", b"302"), "status 302"),
        (ANSWER.replace(b"200 OK", b"100 Continue"), "status 100"),
        (ANSWER.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n", 1), "encoded"),
        (ANSWER.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n", 1), "encoded"),
        (ANSWER.replace(b"\r\n\r\n", b"\r\nContent-Length: 7\r\n\r\n", 1), "not one number"),
        (ANSWER.replace(b"Length: ", b"Length: -"), "not one number"),
        (ANSWER.replace(b"HTTP/1.1", b"HTTP/2"), "not an HTTP"),
        (ANSWER.replace(b"Length: ", b"Length: 9"), "ends after"),
        (ANSWER.replace(b"Length: ", b"Length: 9999"), "65536 bytes or more"),
        (ANSWER.replace(b"Content-Length", b"X") + b" " * 65536, "65536 bytes or more"),
    ],
)
def test_what_is_not_a_whole_plain_answer_is_one_error(answer: bytes, why: str) -> None:
    with pytest.raises(BadInput, match=why):
        body_of(answer)
