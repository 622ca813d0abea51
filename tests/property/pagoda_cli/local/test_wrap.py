"""However a text is cut into pieces, a terminal shows its words whole and its lines as they were."""

import textwrap
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from pagoda_cli.local.wrap import Wrapper

COLUMNS = 20
WORDS = st.text("abcdefg.,-é", min_size=1, max_size=COLUMNS - 1)
BLANKS = st.sampled_from([" ", "  ", "\n", "\n\n"])
TEXTS = st.lists(st.tuples(WORDS, BLANKS), max_size=30).map(lambda pairs: "".join(map("".join, pairs)))


def show(written: str) -> list[str]:
    """A terminal that knows letters, line ends and going back; a letter beyond its last column would wrap."""
    rows, column = [""], 0
    for character in written:
        if character == "\n":
            rows, column = [*rows, ""], 0
        elif character == "\b":
            column -= 1
        else:
            assert 0 <= column < COLUMNS
            rows[-1] = rows[-1][:column] + character + rows[-1][column + 1 :]
            column += 1
    return rows


def write(text: str, cuts: list[int]) -> str:
    wrapper = Wrapper(lambda: COLUMNS)
    return "".join(wrapper.add(piece) for piece in cut(text, cuts))


def cut(text: str, lengths: list[int]) -> Iterator[str]:
    while text:
        length = lengths.pop() if lengths else len(text)
        yield text[:length]
        text = text[length:]


@given(TEXTS, st.lists(st.integers(1, 7), max_size=60))
def test_words_are_whole_and_in_order(text: str, cuts: list[int]) -> None:
    rows = show(write(text, cuts))
    assert " ".join(rows).split() == text.split()


@given(st.lists(st.lists(WORDS).map(" ".join)).map("\n".join), st.lists(st.integers(1, 7), max_size=60))
def test_a_line_is_broken_only_where_its_next_word_does_not_fit(text: str, cuts: list[int]) -> None:
    wrapped = (
        textwrap.wrap(line, COLUMNS - 1, break_long_words=False, break_on_hyphens=False) for line in text.split("\n")
    )
    expected = [row for rows in wrapped for row in rows or [""]]
    assert [row.rstrip() for row in show(write(text, cuts))] == expected


@given(st.text("ab \n", max_size=200), st.lists(st.integers(1, 7), max_size=60))
def test_a_block_of_code_is_left_as_it_is(code: str, cuts: list[int]) -> None:
    block = f"```python\n{code}\n```\n"
    assert write(block, cuts) == block


def test_a_word_longer_than_the_window_is_cut_by_it() -> None:
    assert show(write("a" * 45, [])) == ["a" * 19, "a" * 19, "a" * 7]


def test_wide_letters_need_no_blanks() -> None:
    assert write("漢" * 12, []) == "漢" * 9 + "\n" + "漢" * 3


def test_a_window_that_grows_is_used() -> None:
    columns = [10]
    wrapper = Wrapper(lambda: columns[0])
    before = wrapper.add("aaaa bbbb cccc ")
    columns[0] = 40
    assert before + wrapper.add("dddd eeee") == "aaaa bbbb\ncccc dddd eeee"
