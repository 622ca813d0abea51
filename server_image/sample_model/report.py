"""The table of README.md from `pagoda-tiny/evaluation.json`: `python -m sample_model.report` writes it there."""

from __future__ import annotations

import json
import re
from pathlib import Path

FOLDER = Path(__file__).parent
README = FOLDER / "README.md"
EVALUATION = FOLDER / "pagoda-tiny" / "evaluation.json"
TABLE = re.compile(r"(?<=<!-- measured -->\n).*?(?=\n<!-- /measured -->)", re.DOTALL)
KINDS = {
    "sum": (
        "sums (addition, subtraction, up to two digits)",
        "the sum, in every phrasing; a + b together with b + a",
    ),
    "sum with thinking": ("the same sums, with thinking", "the same"),
    "fact": ("facts", "this phrasing of a fact that other phrasings taught"),
    "product": ("one-digit products", "this phrasing of a product that other phrasings taught"),
    "list": ("lists (counting, naming)", "this phrasing of this list"),
    "definition": ("definitions", "this phrasing of this definition"),
    "call": (
        "one call of the right tool among one to six",
        "the tool's name with its parameters, the phrasing, and the city, name, number or words to copy",
    ),
    "two calls": ("two calls for a question about two things", "the same"),
    "answer from a result": ("an answer in words from a tool's result", "the same"),
    "no call": ("no call, though tools are offered", "the tools, and the question as above"),
    "all": ("all", ""),
}


def render_table(evaluation: dict[str, dict[str, float]]) -> str:
    rows = [
        f"| {name} | {unseen} | {found['accuracy'] * 100:.1f} % | {found['n']} |"
        for kind, (name, unseen) in KINDS.items()
        if (found := evaluation.get(kind))
    ]
    return "\n".join(["| kind | what is unseen | right | n |", "|---|---|---|---|", *rows])


def main() -> None:
    table = render_table(json.loads(EVALUATION.read_text()))
    README.write_text(TABLE.sub(lambda _: table, README.read_text()))


if __name__ == "__main__":
    main()
