"""Writes the table of docs/how-to/clients.md: `python -m tests.clients.table`.

It is what `known.py` says and what is pinned; `test_clients.py` proves it. A test fails when the page is not what
this writes.
"""

import json
import re
from collections.abc import Iterator

from tests.clients.known import CLIENTS, LOCKS, ROOT, Client

PAGE = ROOT / "docs/how-to/clients.md"
COLUMNS = {
    "two turns": ("two_turns",),
    "streaming": ("streaming", "partials"),
    "tools": ("tools",),
    "schema": ("schema", "schema_by_choice"),
    "schema by a tool": ("schema_by_tool",),
    "Responses": ("responses", "responses_tools", "responses_schema"),
    "besides": ("messages_tools", "count_tokens", "embeddings", "log_likelihoods", "generated", "load"),
}
BEGIN, END = "<!-- clients -->\n", "<!-- /clients -->\n"


def build_table() -> str:
    head = ["client", "version", *COLUMNS]
    rows = [head, ["---"] * len(head), *(list(_build_row(client)) for client in CLIENTS)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _build_row(client: Client) -> Iterator[str]:
    yield client.title
    yield read_version(client)
    for cases in COLUMNS.values():
        yield ", ".join(client.cases[case] for case in cases if case in client.cases) or "–"


def read_version(client: Client) -> str:
    """Returns what is pinned."""
    if client.is_node:
        lock = json.loads((LOCKS / client.name / "package-lock.json").read_text())
        return str(lock["packages"][f"node_modules/{client.package}"]["version"])
    found = re.search(rf"^{client.package}==(\S+)", (LOCKS / f"{client.name}.txt").read_text(), re.MULTILINE)
    assert found, f"{client.package} is not in the lock of {client.name}"
    return found[1]


def build_page(page: str) -> str:
    """Returns the page with the table as it should be."""
    before, _, rest = page.partition(BEGIN)
    _, found, after = rest.partition(END)
    assert found, f"{PAGE} has no {BEGIN.strip()} … {END.strip()}"
    return before + BEGIN + build_table() + END + after


if __name__ == "__main__":
    PAGE.write_text(build_page(PAGE.read_text()))
