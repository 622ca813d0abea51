"""How an error message shows what a stranger wrote: short, and in characters that any terminal shows."""

import reprlib

MAX_SHOWN_CHARACTERS = 120
MAX_SHOWN_NAMES = 8
_show = reprlib.Repr()
_show.maxstring = _show.maxother = _show.maxlong = MAX_SHOWN_CHARACTERS
_show.maxlist = _show.maxdict = _show.maxtuple = MAX_SHOWN_NAMES


def show(value: object) -> str:
    """Returns a value as an error message may hold it: short, and in characters that any terminal shows."""
    return shorten(_show.repr(value))


def shorten(text: str) -> str:
    """Returns a name as `show` returns a value, but without quotes around it."""
    printable = "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text[:MAX_SHOWN_CHARACTERS])
    return printable + ("…" if len(text) > MAX_SHOWN_CHARACTERS else "")


def list_names(names: list[str]) -> str:
    """Returns the first few names, and how many more there are."""
    more = len(names) - MAX_SHOWN_NAMES
    return ", ".join(map(shorten, names[:MAX_SHOWN_NAMES])) + (f" and {more} more" if more > 0 else "")
