"""What an answer says does not depend on how its tokens come, and its chunks say what it says as a whole."""

import json
from collections.abc import Sequence
from functools import reduce
from typing import Any, cast

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagoda_server.dialog.events import CallBegun, Content, Event, Reasoning
from pagoda_server.dialog.format import TaggedFormat
from pagoda_server.dialog.formats.hermes import HERMES
from pagoda_server.dialog.reasoning import THINK
from pagoda_server.dialog.turn import Tool
from pagoda_server.http import chat
from pagoda_server.http.blocks import Begun, Blocks, Ended, Grown
from pagoda_server.http.chat_answers import ChatStyle, build_message
from pagoda_server.http.choice import Choice, Piece, Reading
from pagoda_server.http.chunks import ChunkWriter
from pagoda_server.http.engine_client import join_deltas
from pagoda_server.http.reading import AnswerReader
from pagoda_server.http.shapes import join_pieces
from pagoda_server.text.tokenizer import Tokenizer
from pagoda_server.wire import Delta, FinishReason

FORM = TaggedFormat(HERMES, THINK)
END = 0
CALL = '<tool_call>\n{"name": "f", "arguments": {"é": "😀"}}\n</tool_call>'
PARTS = ["<think>", "</think>", "Hm. ", "\n", CALL, CALL[:30], "é😀", "<tool_call>", "Well.", "<", "</"]
ANSWERS = st.lists(st.sampled_from(PARTS), max_size=6).map("".join)


def decode(ids: Sequence[int]) -> str:
    return bytes(ids).decode("utf-8", errors="replace")


class ByteTokenizer:
    decode = staticmethod(decode)


BYTES = cast(Tokenizer, ByteTokenizer())


def build_choice(*, one_call: bool = False, stops: tuple[str, ...] = ()) -> Choice:
    def build_reader() -> AnswerReader:
        return AnswerReader(FORM.build_parser([Tool("f")], ""), one_call=one_call)

    return Choice(index=0, tokenizer=BYTES, stops=stops, min_tokens=0, reading=Reading(decode, build_reader))


def split(text: str, cuts: Sequence[int], reason: FinishReason) -> list[Delta]:
    tokens = [*text.encode(), *([END] if reason == "stop" else [])]
    borders = [0, *sorted(cut % max(1, len(tokens)) for cut in cuts), len(tokens)]
    parts = [tokens[start:end] for start, end in zip(borders, borders[1:], strict=False)]
    last = len(parts) - 1
    return [Delta("r", part, None, reason if at == last else None) for at, part in enumerate(parts)]


def push_all(choice: Choice, deltas: Sequence[Delta]) -> list[Piece]:
    pieces = []
    for delta in deltas:
        pieces.append(choice.push(delta))
        if pieces[-1].finish_reason is not None:
            break
    return pieces


REASONS: st.SearchStrategy[FinishReason] = st.sampled_from(["stop", "length"])


@given(ANSWERS, st.lists(st.integers(0, 200), max_size=5), st.booleans(), st.sampled_from([(), ("m. W",)]), REASONS)
def test_an_answer_says_the_same_however_its_tokens_are_grouped(
    text: str, cuts: list[int], one_call: bool, stops: tuple[str, ...], reason: FinishReason
) -> None:
    found = []
    each = split(text, range(len(text.encode()) + 1), reason)
    for deltas in (each, split(text, cuts, reason), [reduce(join_deltas, each)]):
        choice = build_choice(one_call=one_call, stops=stops)
        message = build_message(join_pieces(push_all(choice, deltas)).events or [], ChatStyle(make_id=lambda: "id"))
        found.append((message, choice.token_count, choice.reasoning_tokens))
    assert found[0] == found[1] == found[2]


def join_chunks(events: bytes) -> tuple[dict[str, Any], str | None]:
    """Returns the message as clients join it of the chunks, and the reason of its end."""
    message: dict[str, Any] = {"content": "", "reasoning": "", "reasoning_content": ""}
    calls: dict[int, dict[str, str]] = {}
    reason = None
    for event in filter(None, events.split(b"\n\n")):
        (choice,) = orjson.loads(event.removeprefix(b"data: "))["choices"]
        reason = choice["finish_reason"] or reason
        for name, value in choice["delta"].items():
            if name == "tool_calls":
                call = calls.setdefault(value[0]["index"], {"name": "", "arguments": ""})
                for field, text in value[0]["function"].items():
                    call[field] += text
            elif name != "role":
                message[name] += value
    return {**message, "calls": list(calls.values())}, reason


@given(ANSWERS, REASONS, st.booleans(), st.booleans())
def test_the_chunks_say_what_the_whole_answer_says(
    text: str, reason: FinishReason, has_usage: bool, shows_reasoning: bool
) -> None:
    style = ChatStyle(shows_reasoning=shows_reasoning)
    dialect = chat.build_dialect(BYTES, "m", logprobs=False, style=style)
    writer = ChunkWriter(dialect, 0, {}, usage=dict if has_usage else None)
    pieces = push_all(build_choice(), split(text, range(len(text.encode()) + 1), reason))
    joined, ended = join_chunks(b"".join(writer.write(piece) for piece in pieces))
    whole = dialect.build_choice(join_pieces(pieces))
    said = whole["message"]
    assert ended == whole["finish_reason"]
    assert joined["content"] == (said["content"] or "")
    assert joined["reasoning"] == joined["reasoning_content"] == said.get("reasoning", "")
    assert joined["calls"] == [call["function"] for call in said.get("tool_calls", [])]


def test_only_whole_calls_have_arguments_that_are_json() -> None:
    pieces = push_all(build_choice(), split(CALL * 2, [], "stop"))
    calls = build_message(join_pieces(pieces).events or [], ChatStyle())["tool_calls"]
    assert [json.loads(call["function"]["arguments"]) for call in calls] == [{"é": "😀"}] * 2


EVENT: st.SearchStrategy[Event] = st.one_of(
    st.builds(Reasoning, st.sampled_from(["a", "\n"])),
    st.builds(Content, st.sampled_from(["b", " ", "\n\n", "c "])),
    st.builds(CallBegun, st.just(0), st.just("f")),
)


@given(st.lists(EVENT, max_size=8))
def test_blocks_begin_and_end_one_behind_the_other(events: list[Event]) -> None:
    blocks = Blocks()
    changes = [*blocks.push(events), *blocks.finish()]
    opened: list[int] = []
    for change in changes:
        match change:
            case Begun(block):
                assert not opened
                opened.append(block.index)
            case Grown(block, _):
                assert opened == [block.index]
            case Ended(block):
                assert opened.pop() == block.index
    assert not opened and [block.index for block in blocks.all] == list(range(len(blocks.all)))
    text = "".join(event.text for event in events if isinstance(event, Content))
    written = "".join(block.text for block in blocks.all if block.kind == "text")
    assert "".join(written.split()) == "".join(text.split())
    assert all(block.text.strip() for block in blocks.all if block.kind == "text")


@pytest.mark.parametrize(("text", "counted"), [("<think>abc</think>", 18), ("abc", 0), ("<think>a</think>b", 8)])
def test_reasoning_is_counted_by_tokens(text: str, counted: int) -> None:
    choice = build_choice()
    push_all(choice, split(text, range(50), "length"))
    assert (choice.reasoning_tokens, choice.token_count) == (counted, len(text))
