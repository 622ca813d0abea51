"""An answer does not depend on how its tokens come: one a frame, or many at once because the front was busy."""

from collections.abc import Sequence
from functools import reduce
from typing import Any, cast

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagoda_server.http import chat, completions
from pagoda_server.http.choice import Choice, Piece
from pagoda_server.http.chunks import ChunkWriter, Dialect
from pagoda_server.http.engine_client import join_deltas
from pagoda_server.http.shapes import join_pieces
from pagoda_server.text.tokenizer import Tokenizer
from pagoda_server.wire import Delta, FinishReason, TokenLogprobs

END = 0


class ByteTokenizer:
    def decode(self, ids: Sequence[int]) -> str:
        return bytes(ids).decode("utf-8", errors="replace")

    def token_text(self, token_id: int) -> str:
        return chr(token_id)


BYTES = cast(Tokenizer, ByteTokenizer())


def split(text: str, cuts: list[int], *, scored: bool, reason: FinishReason) -> list[Delta]:
    tokens = [*text.encode(), *([END] if reason == "stop" else [])]
    borders = [0, *sorted(cut % max(1, len(tokens)) for cut in cuts), len(tokens)]
    parts = [tokens[start:end] for start, end in zip(borders, borders[1:], strict=False)]
    return [
        Delta(
            request_id="r",
            token_ids=part,
            logprobs=[TokenLogprobs(-1.0, []) for _ in part] if scored and part else None,
            finish_reason=reason if at == len(parts) - 1 else None,
            cached_tokens=3,
        )
        for at, part in enumerate(parts)
    ]


def write(deltas: list[Delta], stops: tuple[str, ...], *, scored: bool) -> tuple[Piece, int]:
    choice, pieces = Choice(index=0, tokenizer=BYTES, stops=stops, min_tokens=0, scored=scored), []
    for delta in deltas:
        pieces.append(choice.push(delta))
        if pieces[-1].finish_reason is not None:
            break
    return join_pieces(pieces), choice.token_count


@given(
    st.text(alphabet="aé中😀 ", max_size=12),
    st.lists(st.integers(0, 60), max_size=6),
    st.sampled_from([(), ("a ",), ("é中", "😀")]),
    st.booleans(),
    st.sampled_from(["stop", "length"]),
)
def test_the_answer_is_the_same_however_its_tokens_are_grouped(
    text: str, cuts: list[int], stops: tuple[str, ...], scored: bool, reason: FinishReason
) -> None:
    each = split(text, list(range(len(text.encode()) + 1)), scored=scored, reason=reason)
    some = split(text, cuts, scored=scored, reason=reason)
    expected = write(each, stops, scored=scored)
    assert write(some, stops, scored=scored) == expected
    assert write([reduce(join_deltas, some)], stops, scored=scored) == expected
    if not stops:
        assert expected[0].text == text


DIALECTS = {
    "chat": lambda scored: chat.build_dialect(BYTES, 'a "model"', logprobs=scored),
    "completions": lambda scored: completions.build_dialect(BYTES, 'a "model"', logprobs=1 if scored else None),
}


def parse(events: bytes) -> list[Any]:
    return [orjson.loads(event.removeprefix(b"data: ")) for event in events.split(b"\n\n") if event]


@pytest.mark.parametrize("scored", [False, True])
@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("more", [{}, {"usage": None}])
@given(text=st.text(min_size=1))
def test_a_chunk_is_what_encoding_it_whole_gives(name: str, more: dict[str, Any], scored: bool, text: str) -> None:
    dialect: Dialect = DIALECTS[name](scored)
    writer, piece = ChunkWriter(dialect, 3, more), Piece(3, text)
    expected = orjson.loads(orjson.dumps(dialect.chunk.wrap([dialect.build_chunk(piece)], **more)))
    *start, first = parse(writer.write(piece))
    assert first == expected and len(start) == (dialect.build_start is not None)
    assert parse(writer.write(piece)) == [expected]


def test_a_piece_without_news_is_no_chunk() -> None:
    writer = ChunkWriter(DIALECTS["chat"](False), 0, {})
    assert len(parse(writer.write(Piece(0, "")))) == 1, "the role"
    assert writer.write(Piece(0, "")) == b""
    assert parse(writer.write(Piece(0, "", [], "length")))[0]["choices"][0]["finish_reason"] == "length"
