"""What tokens are called and which bytes they stand for, in both ways of writing a vocabulary."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, decoders, models
from tokenizers import Tokenizer as RawTokenizer

from pagoda_server.text.token_bytes import build_token_bytes
from pagoda_server.text.tokenizer import Tokenizer, read_tokenizer
from tests.doubles.tiny_models import write_tokenizer

PIECES = {"<0xE2>": 0, "<0x96>": 1, "▁Hello": 2, "lo": 3, "<0x41>": 4, "A": 5}


@pytest.fixture(scope="module")
def byte_level(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder: Path = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(folder)
    return read_tokenizer(folder)


@given(text=st.text())
def test_the_bytes_of_a_texts_tokens_are_the_texts(byte_level: Tokenizer, text: str) -> None:
    token_ids = byte_level.encode(text)
    assert b"".join(map(byte_level.token_bytes, token_ids)).decode() == text


def test_no_two_parts_of_characters_have_one_name(byte_level: Tokenizer) -> None:
    token_ids = byte_level.encode("😀é")
    names = [byte_level.token_text(token_id) for token_id in token_ids]
    assert names == ["\\xf0", "\\x9f", "\\x98", "\\x80", "\\xc3", "\\xa9"]


def test_a_special_token_is_called_by_its_name(byte_level: Tokenizer) -> None:
    assert byte_level.token_text(0) == "<eos>" and byte_level.token_bytes(0) == b"<eos>"


def test_an_id_of_no_token_has_no_bytes_and_is_called_by_its_number(byte_level: Tokenizer) -> None:
    assert byte_level.token_bytes(10**6) == b"" and byte_level.token_text(10**6) == "token_id:1000000"


@pytest.mark.parametrize(
    "decoder",
    [
        decoders.Metaspace(),
        decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]),
    ],
)
def test_pieces_have_a_space_in_front_of_a_word_and_bytes_of_their_own(decoder: decoders.Decoder) -> None:
    raw = RawTokenizer(models.BPE(PIECES, [], byte_fallback=True))
    raw.decoder = decoder
    raw.add_tokens([AddedToken("▁kept", special=False)])
    read = build_token_bytes(raw)
    assert [read(token_id) for token_id in range(7)] == [
        b"\xe2",
        b"\x96",
        b" Hello",
        b"lo",
        b"A",
        b"A",
        "▁kept".encode(),
    ]
    assert read.name_text(0) == "\\xe2" and read.name_text(2) == " Hello"


def test_a_vocabulary_without_a_decoder_is_written_as_it_is() -> None:
    read = build_token_bytes(RawTokenizer(models.WordLevel({"▁a": 0, "<0x41>": 1}, unk_token="▁a")))
    assert [read(0), read(1)] == ["▁a".encode(), b"<0x41>"]
