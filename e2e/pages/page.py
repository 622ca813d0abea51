"""Reads a page of documentation as a script: its blocks of code in order, and the command that each stands for.

`bash` is run as it stands, `python` by Python. `yaml` is held against what would take it: objects and pieces of a
ModelDeployment against the API server, anything else, as values, against the chart. `sh` has names of the reader's own
in it, so it says why it is not run: `<!-- not run: … -->` before it, or under the title for all of a page's. Any other
block may say so too.
"""

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import yaml

CHECKED = ("bash", "python", "yaml")
LANGUAGES = (*CHECKED, "sh", "promql", "text", "")
"""Those of a block; the last three are only to be looked at."""
SAMPLE: dict[str, Any] = {
    "apiVersion": "pagoda.dev/v1alpha1",
    "kind": "ModelDeployment",
    "metadata": {"name": "sample"},
}
MODEL = {"model": {"uri": "bundled://pagoda-tiny"}}

_FENCE = re.compile(r"( *)(`{3,})(\w*)$")
_HEADING = re.compile(r"#+ (.*)")
_REASON = re.compile(r" *<!-- not run: (.*) -->$")


@dataclass(frozen=True, slots=True)
class Block:
    line: int
    heading: str
    language: str
    text: str
    reason: str
    """Why it is not run; empty where the page does not say."""

    @property
    def is_run(self) -> bool:
        return self.language in CHECKED and not self.reason


def read_blocks(markdown: str) -> list[Block]:
    """Returns the blocks of code of a page in their order."""
    blocks = []
    heading = reason = reason_of_page = ""
    lines = enumerate(markdown.splitlines(), start=1)
    for number, line in lines:
        if found := _REASON.match(line):
            reason = found[1]
        elif found := _FENCE.match(line):
            indent, fence, language = found.groups()
            text = [row.removeprefix(indent) for row in _read_until(fence, lines)]
            why = reason or (reason_of_page if language == "sh" else "")
            blocks.append(Block(number, heading, language, "\n".join(text), why))
            reason = ""
        elif found := _HEADING.match(line):
            heading = found[1]
        elif line.strip():
            reason, reason_of_page = "", reason or reason_of_page
    return blocks


def _read_until(fence: str, lines: Iterator[tuple[int, str]]) -> Iterator[str]:
    return (row for _, row in takewhile(lambda at: at[1].strip() != fence, lines))


def build_script(name: str, blocks: list[Block], before: str = "") -> str:
    """Returns the page as one bash script, which prints each block before it runs."""
    parts = ["set -euo pipefail", "trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT", before]
    for block in blocks:
        if block.is_run:
            told = f"\n== {name}:{block.line} {block.heading}\n{block.text}\n--"
            parts += [f"printf '%s\\n' {shlex.quote(told)}", build_command(block)]
    return "\n".join([*parts, ""])


def build_command(block: Block) -> str:
    """Returns what is run for a block that is run."""
    if block.language == "bash":
        return block.text
    if block.language == "python":
        return _feed("python -", block.text)
    first = next(yaml.safe_load_all(block.text))
    if "apiVersion" in first:
        return _feed("kubectl apply --dry-run=server -f -", block.text)
    if set(first) == {"spec"}:
        return _feed("kubectl apply --dry-run=server -f -", json.dumps(SAMPLE | {"spec": MODEL | first["spec"]}))
    return _feed("helm template pagoda helm/pagoda --values - >/dev/null", block.text)


def _feed(command: str, text: str) -> str:
    return f"{command} <<'END_OF_BLOCK'\n{text}\nEND_OF_BLOCK"
