"""`pagoda completion SHELL`, and the program `kubectl_complete-pagoda` that kubectl calls to complete its plugin."""

import contextlib
import io
import os
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

import typer

VARIABLE = "_PAGODA_COMPLETE"
NO_FILES = ":4"
"""What kubectl reads at the end: complete with these names, and not with files."""


class Shell(StrEnum):
    """The shells that completion is made for."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(
    context: typer.Context,
    shell: Annotated[Shell, typer.Argument(help="bash, zsh or fish.", show_default=False)],
) -> None:
    """Print the shell's completion: `source <(pagoda completion bash)`. Names come from the cluster, in a second."""
    os.environ[VARIABLE] = f"source_{shell.value}"
    context.find_root().command(prog_name="pagoda")


def complete_for_kubectl(app: typer.Typer, words: Sequence[str]) -> str:
    """Returns the names that may follow the words that kubectl gives, one a line, as kubectl reads them."""
    line = ["pagoda", *(words or [""])]
    os.environ |= {VARIABLE: "complete_bash", "COMP_WORDS": " ".join(line), "COMP_CWORD": str(len(line) - 1)}
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        app(prog_name="pagoda")
    return "\n".join([*said.getvalue().split(), NO_FILES])
