"""Text of others (a hub, a file, a child's log) made fit for a message: one line, nothing that a terminal obeys."""


def one_line(text: str) -> str:
    """`text` with one blank for each run of blanks and of what has no shape: controls, bidi marks, lone surrogates."""
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())
