"""Writes docs/reference/tool-formats.md from the notations themselves.

`python docs/reference/generate_tool_formats.py`; a test fails when the page is not what this writes.
"""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from pagoda_server.dialog.choose import REASONING_SYNONYMS, TOOL_SYNONYMS
from pagoda_server.dialog.formats.harmony import HARMONY, HarmonyFormat
from pagoda_server.dialog.formats.table import TOOL_FORMATS
from pagoda_server.dialog.formats.tool_format import ToolFormat
from pagoda_server.dialog.reasoning import REASONING_FORMATS

TARGET = Path(__file__).parent / "tool-formats.md"

HEAD = """# How models write calls and reasoning

Written by `docs/reference/generate_tool_formats.py` from the parsers; do not edit.

Each model has its own notation for calls and for reasoning. The server knows it by the model's chat template and
tokens; `engine.toolParser` and `engine.reasoningParser` name another one, or `none`. What vLLM calls a notation is
known too.

## Calls
"""

CALLS = """
The order is that in which they are looked for: first in the template alone, then among the tokens too, because a model
that was trained further keeps its tokens and has a template of its own.

What all of them have in common:

- **Streaming.** The name comes first, then the arguments while the model writes them. Arguments that the model writes
  as JSON are passed on as they stand. Where it writes them one by one without quotes, the tool's schema says what is a
  string; what does not fit its type is a string.
- **Text that is no call** is content, to the last character: a mark without a call, a call of unknown shape, an object
  that only looks like one. Blanks next to a call are not content.
- **A call that breaks off** at `max_tokens` gives what there was of it.
- **A function that nobody offered** is a call all the same, so that the client can say so to the model. Where nothing
  marks a call but its shape, only at the beginning of the answer, or not at all (plain JSON or Python).
- **Grammar.** `tool_choice` of `required` or a named function, and tools that are `strict`, are held by grammar in the
  model's own notation, so that arguments always parse and have the schema. With `strict` tools and `auto` text is free
  until a call begins. In notations without quotes a string's `format` is not held, nor a
  `pattern` that looks around itself; a union of strings and numbers is held as each by itself.
- **`parallel_tool_calls: false`** lets a grammar write one call; harmony's models stop behind each call anyway.
"""

REASONING = """
Blanks beside the tags are left out. A tag in the middle of an answer is text, except for models that reason between
their calls. A call that begins inside the reasoning ends it. A template may open the reasoning in the prompt; then the
answer begins inside.

A budget of tokens for the reasoning is a grammar: beyond it the end of the reasoning is all that may come.
`reasoning_effort` is told to templates that know it; for others `none` is a budget of 0, `minimal` of 256 and `low` of
1,024 tokens, and more effort is the model's own.
"""


def name_all(name: str, synonyms: Mapping[str, str]) -> str:
    others = ", ".join(f"`{other}`" for other, meant in synonyms.items() if meant == name and other != name)
    return f"`{name}`" + (f" ({others})" if others else "")


def escape(text: str) -> str:
    return text.replace("|", "\\|")


def write_rows() -> Iterator[str]:
    yield "| `engine.toolParser` (or) | models | recognised by | arguments come |"
    yield "|---|---|---|---|"
    forms: list[ToolFormat | HarmonyFormat] = [HARMONY, *TOOL_FORMATS]
    for form in forms:
        cells = [name_all(form.name, TOOL_SYNONYMS), form.models, form.sign, form.streaming]
        yield f"| {' | '.join(map(escape, cells))} |"


def write_examples() -> Iterator[str]:
    yield "\n## Examples"
    forms: list[ToolFormat | HarmonyFormat] = [HARMONY, *TOOL_FORMATS]
    for form in forms:
        yield f"\n{form.title} (`{form.name}`):\n\n````text\n{form.example}\n````"


def write_reasoning() -> Iterator[str]:
    yield "\n## Reasoning\n"
    yield "| `engine.reasoningParser` (or) | models | tags | recognised by |"
    yield "|---|---|---|---|"
    yield f"| {name_all(HARMONY.name, REASONING_SYNONYMS)} | {HARMONY.models} | the channel `analysis` | as for calls |"
    for form in REASONING_FORMATS:
        tags = escape(f"`{form.begin}{form.label}` … `{form.end}`")
        yield f"| {name_all(form.name, REASONING_SYNONYMS)} | {form.models} | {tags} | {escape(form.sign)} |"


def write_reference() -> str:
    lines = [HEAD, *write_rows(), CALLS.rstrip(), *write_examples(), *write_reasoning(), REASONING.rstrip()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    TARGET.write_text(write_reference(), encoding="utf-8")
    print(f"wrote {TARGET.name}", file=sys.stderr)
