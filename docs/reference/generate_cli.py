"""Writes docs/reference/cli.md from the commands themselves: `python docs/reference/generate_cli.py`.

A test fails when the file is not what this writes.
"""

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from pagoda_cli.commands.flags import PANEL
from pagoda_cli.main import app

TARGET = Path(__file__).parent / "cli.md"
HEAD = """# Commands

Written by `docs/reference/generate_cli.py`; do not edit. `pagoda COMMAND --help` shows the same.

Every command is one of `pagoda`, and of `kubectl pagoda` where kubectl finds the program `kubectl-pagoda`. As with
every plugin of kubectl, flags come after the command: `kubectl pagoda status --context staging`.

`-o json` and `-o yaml` print the same facts as the text, with names that stay. Colours are for terminals; `NO_COLOR`
takes them away. Errors are one line on standard error.
"""
PICTURES = {
    "pagoda status": ("status", "four models, a line each; one of them is not ready, and its reason is Unschedulable"),
    "pagoda why": ("why", "the reason, what shows it, what to do and where to read on"),
    "pagoda bench": ("bench", "throughput, times to the first token and gaps, and how they spread, as bars"),
    "pagoda capacity": ("capacity", "demand, what a replica serves, the replicas it takes, and what a stream gets"),
    "pagoda run": ("run", "the phases of a start, the address, an answer, and a clean stop"),
}
"""What `make pictures` has of a command, and what it shows."""
EXIT_CODES = """## Exit codes

| code | of | meaning |
|---|---|---|
| 0 | all | done; `why`: nothing is wrong, or what goes on will pass by itself |
| 1 | all | it failed; `why`: something is wrong; `validate`: an error; `bench`: no answer; `models check`: not served |
| 2 | all | the command line is wrong; `why`: the cluster could not be asked |
| 130 | all | Ctrl-C |
"""


def list_commands(group: Any, path: str) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        full = f"{path} {name}"
        if hasattr(command, "commands"):
            yield from list_commands(command, full)
        else:
            yield full, command


def describe(parameter: Any) -> str:
    text = " ".join(str(parameter.help or "").split()).replace("|", "\\|")
    default = parameter.default
    shown = default not in (None, False, "", ()) and not callable(default) and not parameter.required
    value = getattr(default, "value", default)
    return f"{text} Default: `{value}`." if shown and parameter.name != "request_timeout" else text


def name_parameter(parameter: Any) -> str:
    names = ", ".join(f"`{name}`" for name in parameter.opts)
    if parameter.param_type_name == "argument":
        return f"`{parameter.metavar or parameter.name.upper()}`"
    return names if parameter.is_flag else f"{names} {parameter.metavar or parameter.name.upper()}"


def write_command(path: str, command: Any) -> Iterator[str]:
    own = [p for p in command.params if getattr(p, "rich_help_panel", None) != PANEL and p.name != "help"]
    has_flags = len(own) < len([p for p in command.params if p.name != "help"])
    yield f"## {path}\n"
    yield inspect.cleandoc(command.help or "") + "\n"
    if own:
        yield "| argument or flag | meaning |\n|---|---|"
        yield from (f"| {name_parameter(p)} | {describe(p)} |" for p in own)
        yield ""
    if path in PICTURES:
        name, shows = PICTURES[path]
        yield f"![{path}: {shows}](../images/tool/{name}.svg)\n"
    if has_flags:
        yield "And the [cluster's flags](#the-clusters-flags).\n"


def write_cluster_flags(commands: list[tuple[str, Any]]) -> Iterator[str]:
    found = dict(commands)["pagoda status"].params
    yield "## The cluster's flags\n"
    yield "As kubectl has them; the kubeconfig says what is not given, exec plugins included.\n"
    yield "| flag | meaning |\n|---|---|"
    yield from (
        f"| {name_parameter(p)} | {describe(p)} |" for p in found if getattr(p, "rich_help_panel", None) == PANEL
    )
    yield ""


def write_reference() -> str:
    commands = list(list_commands(typer.main.get_command(app), "pagoda"))
    lines = [HEAD]
    for path, command in commands:
        lines += write_command(path, command)
    return "\n".join([*lines, *write_cluster_flags(commands), EXIT_CODES])


if __name__ == "__main__":
    TARGET.write_text(write_reference(), encoding="utf-8")
    print(f"wrote {TARGET.name}", file=sys.stderr)
