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
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from re import sub
from typing import Any

import aiohttp
import msgspec
import orjson
from aiohttp import web
from tokenizers.processors import TemplateProcessing

from pagoda_server.engine.config import EngineConfig
from pagoda_server.http.app import HttpApi
from pagoda_server.http.engine_client import EngineClient
from pagoda_server.http.runner import build_runner
from pagoda_server.settings import Settings
from pagoda_server.text.tokenizer import Tokenizer, build_tokenizer, read_tokenizer
from pagoda_server.wire import Hello
from tests.doubles.engine import END, FakeEngine
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
MADE_HERE = rb'"(chatcmpl|cmpl)-[0-9a-f]{32}"|"created":\d+'
MAX_SHOWN = 90
HEAD = """# Fields of the API

Written by `docs/reference/generate_openai.py`; do not edit. Each row was sent to the server, with the value shown and
what it needs beside it. *Works*: the answer, or what the engine was asked to do, was another than without the field.
*Taken*: the request was answered as if the field were not there. *Refused*: a 400 with this message.

`null` always means that a field is left out. A field that is in none of these tables is refused by its name. The
document of the API for programs is at `/openapi.json`.
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    kind: str
    """works, taken, refused or missing: the path is not served."""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """What came of one request."""

    status: int
    answer: bytes
    submits: bytes


class Server:
    def __init__(self, url: str, session: aiohttp.ClientSession, engine: FakeEngine) -> None:
        self._url = url
        self._session = session
        self._engine = engine

    async def send(self, path: str, body: dict[str, Any]) -> Seen:
        self._engine.submitted.clear()
        async with self._session.post(self._url + path, json=body) as response:
            answer = await response.read()
        submits = [
            msgspec.structs.replace(one, request_id="", group="", is_streamed=False) for one in self._engine.submitted
        ]
        return Seen(response.status, sub(MADE_HERE, b"*", answer), msgspec.json.encode(submits))


def build_marking_tokenizer(folder: Path) -> Tokenizer:
    """Returns a tokenizer that puts a special token in front of a text, as most do."""
    write_tokenizer(folder)
    raw = read_tokenizer(folder).raw
    raw.post_processor = TemplateProcessing(single="<eos> $A", special_tokens=[("<eos>", END)])
    return build_tokenizer(raw, TEMPLATE, {"eos_token": "<eos>"})


@asynccontextmanager
async def run_server() -> AsyncIterator[Server]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tokenizer = build_marking_tokenizer(folder)
        hello = Hello(4000, 8, tokenizer.raw.get_vocab_size(), [END], "cpu", "float32")
        engine = FakeEngine(lambda text: tokenizer.encode(text, add_special_tokens=False), hello, ANSWER)
        listener = await asyncio.start_unix_server(engine.handle, str(folder / "e.sock"))
        settings = Settings(
            engine=EngineConfig(model=folder, socket=folder / "e.sock"), served_model_name=FIELDS["MODEL"]
        )
        api = HttpApi(settings, tokenizer)
        api.engine = await EngineClient.connect(folder / "e.sock")
        runner = build_runner(api.build_app())
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with aiohttp.ClientSession() as session:
            yield Server(f"http://127.0.0.1:{runner.addresses[0][1]}", session, engine)
        await runner.cleanup()
        await api.engine.close()
        await engine.done.wait()
        listener.close()
        await listener.wait_closed()


def put(body: dict[str, Any], name: str, value: Any) -> dict[str, Any]:
    root, _, member = name.partition(".")
    return {**body, root: {member: value} if member else value}


async def judge(server: Server, section: Any, field: Any) -> Outcome:
    without = {**section.body, **field.beside}
    seen = await server.send(section.path, put(without, field.name, field.value))
    if seen.status != 200:
        error = orjson.loads(seen.answer)["error"]
        kind = "missing" if error.get("code") == "unsupported_endpoint" else "refused"
        return Outcome(kind, error["message"])
    before = await server.send(section.path, without)
    return Outcome("taken" if seen == before else "works")


async def judge_all() -> list[tuple[Any, list[tuple[Any, Outcome]]]]:
    async with run_server() as server:
        return [
            (section, [(field, await judge(server, section, field)) for field in section.fields])
            for section in FIELDS["SECTIONS"]
        ]


def show(field: Any) -> str:
    root = field.name.partition(".")[0]
    shown = put({}, field.name, field.value)
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
