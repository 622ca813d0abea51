"""Text while it comes: UTF-8 borders and stop strings."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from pagoda_server.text.detokenize import Detokenizer, StopMatcher


def decode_bytes(ids: Sequence[int]) -> str:
    return bytes(ids).decode("utf-8", errors="replace")


@given(st.text(alphabet="aé中😀 \n", max_size=30))
def test_pieces_join_to_the_text_and_never_hold_half_a_character(text: str) -> None:
    detokenizer = Detokenizer(decode_bytes)
    pieces = [detokenizer.push([byte]) for byte in text.encode()]
    assert all("\ufffd" not in piece for piece in pieces)
    assert "".join(pieces) + detokenizer.flush() == text


def test_an_unfinished_character_becomes_a_replacement_at_the_end() -> None:
    detokenizer = Detokenizer(decode_bytes)
    assert detokenizer.push(list("a中".encode()[:-1])) == "a"
    assert detokenizer.flush() == "\ufffd"


@given(st.lists(st.text("abc", max_size=4), max_size=8), st.lists(st.text("abc", min_size=1, max_size=4), max_size=4))
def test_stop_strings_do_not_depend_on_how_the_text_is_cut(parts: list[str], stops: list[str]) -> None:
    def run(pieces: list[str]) -> tuple[str, bool]:
        matcher, sent = StopMatcher(stops), ""
        for piece in pieces:
            text, stopped = matcher.push(piece)
            sent += text
            if stopped:
                return sent, True
        return sent + matcher.flush(), False

    whole = "".join(parts)
    assert run(parts) == run(list(whole)) == run([whole])
    sent, stopped = run(parts)
    assert not any(stop in sent for stop in stops)
    assert stopped or sent == whole


def test_only_what_may_become_a_stop_string_is_held_back() -> None:
    matcher = StopMatcher(["END"])
    assert matcher.push("xE") == ("x", False)
    assert matcher.push("Q") == ("EQ", False)
    assert matcher.push("EN") == ("", False)
    assert matcher.push("Dz") == ("", True)
