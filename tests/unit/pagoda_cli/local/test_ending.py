"""How a process ended is said in words, and no line of information is its reason."""

import pytest

from pagoda_cli.local.ending import describe_end, find_reason

INFO = "2026-01-01 10:00:00,000 INFO pagoda_server listening"
ERROR = "2026-01-01 10:00:00,000 ERROR pagoda_server engine ended"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (-9, "ended by signal 9 (out of memory?)"),
        (-11, "ended by signal 11"),
        (3, "exit code 3"),
        (0, "exit code 0"),
    ],
)
def test_an_end_is_told_in_words(code: int, words: str) -> None:
    assert describe_end(code) == words


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([], ""),
        ([INFO], ""),
        (["a banner", INFO, INFO], ""),
        ([ERROR, INFO], ERROR),
        (["RuntimeError: no memory", INFO], "RuntimeError: no memory"),
        ([INFO, "no such flag"], "no such flag"),
    ],
)
def test_a_line_of_information_is_not_the_reason(lines: list[str], reason: str) -> None:
    assert find_reason(lines) == reason
