"""Text of others (a hub, a file, a child's log) made fit for a message: one line, nothing that a terminal obeys."""


def one_line(text: str) -> str:
    """Returns `text` with each run of blanks, controls, bidi marks and lone surrogates made one blank."""
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())
