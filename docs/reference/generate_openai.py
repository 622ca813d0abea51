"""Writes docs/reference/openai.md: what the server does with each field of OpenAI's and vLLM's APIs.

`PYTHONPATH=.:operator:server_image python docs/reference/generate_openai.py`. Each field is sent to the real HTTP front
with an engine that answers with fixed tokens. A field works when the answer, or what the engine is asked, is another
than without it. A test fails when the file is not what this writes.
"""

import asyncio
import runpy
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from re import Match, sub
from typing import Any

import aiohttp
import msgspec
import orjson
from tokenizers import Tokenizer as RawTokenizer
from tokenizers.processors import TemplateProcessing

from tests.doubles.engine import END
from tests.doubles.served import Stack, serve_stack
from tests.doubles.tiny_models import write_tokenizer

HERE = Path(__file__).parent
TARGET = HERE / "openai.md"
FIELDS = runpy.run_path(str(HERE / "openai_fields.py"))
TEMPLATE = """
{%- for t in tools or [] %}<tools>{{ t | tojson }}</tools> call as <tool_call>{"name": "", "arguments": {}}</tool_call>
{%- endfor %}
{%- for d in documents or [] %}{{ d.title }}: {{ d.text }}
{% endfor %}
{%- if reasoning_effort is defined %}effort "low" "medium" "high": {{ reasoning_effort }}
{% endif %}
{%- for m in messages %}<|{{ m.role }}|>{% if m.name %}{{ m.name }}: {% endif %}
{%- if m.reasoning_content %}<think>{{ m.reasoning_content }}</think>{% endif %}{{ m.content }}
{%- for c in m.tool_calls or [] %}<tool_call>{{ c.function | tojson }}</tool_call>{% endfor %}
{% endfor %}
{%- if add_generation_prompt %}<|assistant|>{% if enable_thinking is defined and not enable_thinking %}<think>

</think>{% endif %}{% endif %}"""
"""Shows whatever a template may be told, so that a field which reaches it is seen."""
ANSWER = "<think>Hm.</think>Hello wörld<eos> 😀!"
MADE_ID = rb'"(chatcmpl|cmpl|call|resp|msg|rs|fc|toolu)[-_][0-9a-zA-Z]{20,}"'
MADE_HERE = MADE_ID + rb'|"(created|created_at|completed_at)":[\d.]+'
MAX_SHOWN = 90
HEAD = """# Fields of the API

Written by `docs/reference/generate_openai.py`; do not edit. Each row was sent to the server, with the value shown and
what it needs beside it. *Works*: the answer, or what the engine was asked to do, was another than without the field.
*Told*: the answer says what was asked for, and is the same otherwise. *Taken*: the request was answered as if the field
were not there. *Refused*: a 400 with this message.

`null` always means that a field is left out. A field that is in none of these tables is refused by its name. The
document of the API for programs is at `/openapi.json`.
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    kind: str
    """works, told, taken, refused or missing: the path is not served."""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """What came of one request."""

    status: int
    answer: bytes
    submits: bytes

    def leave_out(self, name: str) -> "Seen":
        """Returns the same without what a whole answer says of the field."""
        if not self.answer.startswith(b"{"):
            return self
        answer = {key: value for key, value in orjson.loads(self.answer).items() if key != name}
        return replace(self, answer=orjson.dumps(answer))


class Server:
    def __init__(self, stack: Stack, session: aiohttp.ClientSession) -> None:
        self._stack = stack
        self._session = session

    async def send(self, path: str, body: dict[str, Any]) -> Seen:
        submitted = self._stack.engine.submitted
        submitted.clear()
        async with self._session.post(self._stack.url + path, json=body) as response:
            answer = await response.read()
        submits = [msgspec.structs.replace(one, request_id="", group="", is_streamed=False) for one in submitted]
        return Seen(response.status, sub(MADE_HERE, blank, answer), msgspec.json.encode(submits))


def write_marking_tokenizer(folder: Path) -> None:
    """Writes a tokenizer that puts a special token in front of a text, as most do."""
    write_tokenizer(folder)
    raw = RawTokenizer.from_file(str(folder / "tokenizer.json"))
    raw.post_processor = TemplateProcessing(single="<eos> $A", special_tokens=[("<eos>", END)])
    raw.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_bytes(orjson.dumps({"eos_token": "<eos>", "chat_template": TEMPLATE}))


@asynccontextmanager
async def run_server() -> AsyncIterator[Server]:
    with tempfile.TemporaryDirectory() as name:
        write_marking_tokenizer(Path(name))
        async with serve_stack(Path(name), max_model_len=4000) as stack, aiohttp.ClientSession() as session:
            stack.engine.encode = partial(stack.api.tokenizer.encode, add_special_tokens=False)
            stack.engine.answer = ANSWER
            yield Server(stack, session)


def blank(found: Match[bytes]) -> bytes:
    """Returns JSON in place of an id or a time that was made for one answer."""
    return f'"{found[2].decode()}":0'.encode() if found[2] else b'"*"'


def put(body: dict[str, Any], name: str, value: Any) -> dict[str, Any]:
    root, _, member = name.partition(".")
    return {**body, root: {**body.get(root, {}), member: value} if member else value}


async def judge(server: Server, section: Any, field: Any) -> Outcome:
    without = {**section.body, **field.beside}
    seen = await server.send(section.path, put(without, field.name, field.value))
    if seen.status != 200:
        error = orjson.loads(seen.answer)["error"]
        kind = "missing" if error.get("code") == "unsupported_endpoint" else "refused"
        return Outcome(kind, error["message"])
    before = await server.send(section.path, without)
    if seen == before:
        return Outcome("taken")
    root = field.name.partition(".")[0]
    return Outcome("told" if seen.leave_out(root) == before.leave_out(root) else "works")


async def judge_all() -> list[tuple[Any, list[tuple[Any, Outcome]]]]:
    async with run_server() as server:
        return [
            (section, [(field, await judge(server, section, field)) for field in section.fields])
            for section in FIELDS["SECTIONS"]
        ]


def show(field: Any) -> str:
    root = field.name.partition(".")[0]
    shown = {root: put(dict(field.beside), field.name, field.value)[root]}
    beside = {name: value for name, value in field.beside.items() if name != root}
    text = orjson.dumps({**shown, **beside}).decode()[1:-1]
    return f"`{text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + '…'}`".replace("|", "\\|")


def write_section(section: Any, judged: list[tuple[Any, Outcome]]) -> Iterator[str]:
    yield f"## {section.title}\n"
    if all(outcome.kind == "missing" for _, outcome in judged):
        yield f"Not served: {judged[0][1].message}.\n"
        return
    yield "| field | sent | outcome |"
    yield "|---|---|---|"
    for name, rows in groupby(judged, key=lambda row: row[0].name):
        for field, outcome in rows:
            said = f"refused: {outcome.message}" if outcome.message else outcome.kind
            yield f"| `{name}` | {show(field)} | {said.replace('|', chr(92) + '|')} |"
    yield ""


def write_reference() -> str:
    judged = asyncio.run(judge_all())
    return "\n".join([HEAD, *(line for section, rows in judged for line in write_section(section, rows))])


if __name__ == "__main__":
    TARGET.write_text(write_reference(), encoding="utf-8")
    print(f"wrote {TARGET.name}", file=sys.stderr)
