"""Text of others (a hub, a file, a child's log) made fit for a message: one line, nothing that a terminal obeys."""

from collections.abc import Iterable
from difflib import get_close_matches


def one_line(text: str) -> str:
    """Returns `text` with each run of blanks, controls, bidi marks and lone surrogates made one blank."""
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())


def suggest(word: str, known: Iterable[str]) -> str | None:
    """Returns what was probably meant, whatever the case; None when nothing is close."""
    by_lower_case = {name.lower(): name for name in known}
    found = get_close_matches(word[:253].lower(), by_lower_case, n=1)
    return by_lower_case[found[0]] if found else None
