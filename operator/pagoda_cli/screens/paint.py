"""How figures, ages and states are written and coloured. The words stand without the colours."""

from io import StringIO
from typing import TextIO

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from pagoda_cli.text import one_line

PLAIN_WIDTH = 80
GOOD, BAD, WAITS, DIM, BOLD = "green", "red", "yellow", "dim", "bold"
NONE = "-"


def open_console(file: TextIO, *, is_plain: bool = False, width: int | None = None) -> Console:
    """Returns a console that obeys NO_COLOR and TERM, and writes no colour into a pipe."""
    colours = {"no_color": True, "color_system": None} if is_plain else {}
    return Console(file=file, markup=False, highlight=False, emoji=False, soft_wrap=False, width=width, **colours)  # type: ignore[arg-type]


def render_plain(screen: RenderableType, width: int = PLAIN_WIDTH) -> str:
    """Returns a screen as plain text without blanks at the ends of lines."""
    buffer = StringIO()
    open_console(buffer, is_plain=True, width=width).print(screen, crop=False)
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"


def build_grid(*columns: str, header: bool = True, expand_last: bool = False) -> Table:
    """Returns a table without lines; columns that begin with `>` are set to the right."""
    table = Table(box=None, show_header=header, pad_edge=False, header_style=DIM, padding=(0, 2, 0, 0))
    for index, column in enumerate(columns):
        is_last = index == len(columns) - 1
        right = column.startswith(">")
        wraps = is_last and not right
        table.add_column(
            column.removeprefix(">"),
            justify="right" if right else "left",
            no_wrap=not wraps,
            overflow="fold" if wraps else "ellipsis",
            ratio=1 if is_last and expand_last else None,
        )
    return table


def paint(text: str, style: str = "") -> Text:
    """Returns text of others as one line that no terminal obeys."""
    return Text(one_line(text) or NONE, style=style)


def state_style(ready: str) -> str:
    return {"True": GOOD, "False": BAD}.get(ready, WAITS)


def say_age(seconds: float | None) -> str:
    """Returns an age as kubectl has it: 45s, 12m, 3h, 9d."""
    if seconds is None:
        return NONE
    for limit, size, unit in ((120, 1, "s"), (7200, 60, "m"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{int(seconds // size)}{unit}"
    return f"{int(seconds // 86_400)}d"


def say_rate(tokens_per_second: float | None) -> str:
    if tokens_per_second is None:
        return NONE
    return f"{tokens_per_second:.1f}" if tokens_per_second < 100 else f"{tokens_per_second:,.0f}"


def say_count(count: int | None) -> str:
    return NONE if count is None else f"{count:,}"


def say_bytes(size: int) -> str:
    """Returns a size in decimal units, as disks and hubs give it."""
    for limit, unit in ((1e3, "B"), (1e6, "kB"), (1e9, "MB"), (1e12, "GB")):
        if size < limit:
            return f"{size} B" if unit == "B" else f"{size / (limit / 1e3):.1f} {unit}"
    return f"{size / 1e12:.1f} TB"
