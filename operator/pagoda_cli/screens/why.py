"""The screen of `why`: cause, evidence, next step, link."""

import re
from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from pagoda_cli.diagnosis.causes import Cause
from pagoda_cli.screens.paint import BAD, BOLD, DIM, GOOD, WAITS, build_grid

_ENDS_WITH_COMMAND = re.compile(r"(.+?:) ((?:kubectl|pagoda|helm) .+)")
COPIED = ("kubectl ", "pagoda ", "helm ", "https://")


def build_why(causes: Sequence[Cause], *, checked: int, unread: Sequence[str] = ()) -> RenderableType:
    """Returns what is wrong; one line when nothing is. `checked` is the number of models looked at."""
    parts: list[RenderableType] = []
    for cause in causes:
        parts += [*_cause(cause), ""]
    if not causes:
        models = "the model is" if checked == 1 else f"all {checked} models are"
        parts.append(
            Text("All is well: " + (f"{models} healthy." if checked else "there are no models here."), style=GOOD)
        )
    parts += [Text(f"not checked: {line}", style=DIM) for line in unread]
    return Group(*(parts[:-1] if parts and parts[-1] == "" else parts))


def _cause(cause: Cause) -> Iterator[RenderableType]:
    where = f"{cause.namespace}/{cause.name}" if cause.name else "the cluster"
    style = BAD if cause.is_wrong else WAITS
    yield Text.assemble((where, BOLD), "  ", (cause.reason, style))
    yield Padding(Text(cause.message), (0, 0, 0, 2))
    for title, lines in (("seen", cause.evidence), ("do", cause.steps), ("read", (cause.url,) if cause.url else ())):
        for index, part in enumerate(part for line in lines for part in split_command(line)):
            yield from _line(title if index == 0 else "", part)


def split_command(line: str) -> tuple[str, ...]:
    """Returns a line, and by itself the command that it ends with, so that a double click takes it."""
    words = _ENDS_WITH_COMMAND.fullmatch(line)
    return (words[1], words[2]) if words is not None else (line,)


def _line(title: str, line: str) -> Iterator[RenderableType]:
    """Yields a line beside its title. A command or an address is never broken, so that it can be copied."""
    if line.startswith(COPIED):
        yield Text.assemble((f"  {title:<6}", DIM), line, no_wrap=True, overflow="ignore")
        return
    grid = build_grid("", "", header=False)
    grid.add_row(Text(f"{title:<4}", style=DIM), Text(line))
    yield Padding(grid, (0, 0, 0, 2))
