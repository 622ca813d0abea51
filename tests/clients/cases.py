"""What each case must have given, whatever the client: held against what the client's own objects had in them."""

from collections.abc import Callable, Mapping
from typing import Any

Got = Mapping[str, Any]


def check_two_turns(got: Got) -> None:
    """NB: only a longer prompt shows that the second turn had the first one in it."""
    assert got["answers"] == ["The capital of Norway is Oslo.", "The capital of Chile is Santiago."], got
    if "prompt_tokens" in got:
        first, second = got["prompt_tokens"]
        assert second > 2 * first > 0, got


def check_streaming(got: Got) -> None:
    assert "".join(got["pieces"]) == got["whole"], got
    assert len(got["pieces"]) > 20 and got["whole"].startswith("Once upon a time"), got


def check_partials(got: Got) -> None:
    partials = got["partials"]
    assert partials[0] == {"name": None, "age": None} and partials[-1] == {"name": "John Doe", "age": 30}, got
    assert {"name": "John", "age": None} in partials, got


def check_tools(got: Got) -> None:
    """NB: only who saw the first question can answer "And in Rome?", and only who read a result knows the weather."""
    assert got["called"] == ["Paris", "Rome"], got
    paris, rome = got["answers"]
    assert all(word in paris for word in ("-3", "stormy", "Paris")), got
    assert all(word in rome for word in ("31", "windy", "Rome")), got


def check_person(got: Got) -> None:
    """NB: the form is the grammar's; the words of so small a model make little sense in it."""
    person = got["person"]
    assert set(person) == {"name", "age"} and len(person["name"]) <= 20 and 0 <= person["age"] <= 120, got


def check_sorted(got: Got) -> None:
    assert got["sorted"]["about"] in ("person", "city", "animal") and got["sorted"]["is_adult"] in (True, False), got


def check_person_by_tool(got: Got) -> None:
    assert got["person"] == {"name": "John Doe", "age": 30}, got


def check_count(got: Got) -> None:
    assert got["counted"] == got["used"] > 0, got


def check_refused(got: Got) -> None:
    assert "/v1/embeddings is not supported yet; use /v1/chat/completions" in got["refused"], got


def check_accuracy(got: Got) -> None:
    assert got == {"case": got["case"], "accuracy": 1.0, "samples": 6}


def check_load(got: Got) -> None:
    assert (got["completed"], got["failed"]) == (8, 0), got
    assert got["first_token_ms"] > 0 and got["output_tokens"] >= 8, got


CHECKS: Mapping[str, Callable[[Got], None]] = {
    "two_turns": check_two_turns,
    "streaming": check_streaming,
    "partials": check_partials,
    "tools": check_tools,
    "schema": check_person,
    "schema_by_choice": check_sorted,
    "schema_by_tool": check_person_by_tool,
    "responses": check_two_turns,
    "responses_tools": check_tools,
    "responses_schema": check_person,
    "messages_tools": check_tools,
    "count_tokens": check_count,
    "embeddings": check_refused,
    "log_likelihoods": check_accuracy,
    "generated": check_accuracy,
    "load": check_load,
}
