"""The bytes that one token stands for: it may be a part of a character, so texts do not tell tokens apart."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer as RawTokenizer

SELF = (range(0x21, 0x7F), range(0xA1, 0xAD), range(0xAE, 0x100))
"""The bytes that byte-level BPE writes as the character of the same number; the others follow from 256 on."""
SPACE = "\N{LOWER ONE EIGHTH BLOCK}"
"""How vocabularies in the manner of SentencePiece write a space."""


@dataclass(frozen=True, slots=True)
class TokenBytes:
    """The bytes of each token, by the way in which its vocabulary is written."""

    added: Mapping[int, bytes]
    """Tokens that are written as they are."""
    name: Callable[[int], str | None]
    """A token as the vocabulary writes it; None: there is none of this id."""
    read: Callable[[str], bytes]

    def __call__(self, token_id: int) -> bytes:
        known = self.added.get(token_id)
        if known is not None:
            return known
        name = self.name(token_id)
        return b"" if name is None else self.read(name)

    def name_text(self, token_id: int) -> str:
        """Returns what stands for the token in an answer: its text, or the bytes of one that is no whole text.

        NB: a model may have more tokens than its tokenizer has texts.
        """
        raw = self(token_id)
        try:
            return raw.decode() or name_as_id(token_id)
        except UnicodeDecodeError:
            return escape(raw)


def escape(raw: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in raw)


def name_as_id(token_id: int) -> str:
    return f"token_id:{token_id}"


def build_token_bytes(raw: RawTokenizer) -> TokenBytes:
    added = {token_id: token.content.encode() for token_id, token in raw.get_added_tokens_decoder().items()}
    return TokenBytes(added, raw.id_to_token, _find_reader(raw))


def _find_reader(raw: RawTokenizer) -> Callable[[str], bytes]:
    steps = [] if raw.decoder is None else list(_flatten(json.loads(raw.decoder.__getstate__())))
    kinds = {step["type"] for step in steps}
    if "ByteLevel" in kinds:
        return _read_byte_level
    writes_spaces = "Metaspace" in kinds or any(step.get("pattern") == {"String": SPACE} for step in steps)
    return _read_pieces if writes_spaces or "ByteFallback" in kinds else str.encode


def _flatten(step: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if step["type"] != "Sequence":
        yield step
        return
    for child in step["decoders"]:
        yield from _flatten(child)


def _list_alphabet() -> Iterator[tuple[str, int]]:
    following = 256
    for byte in range(256):
        if any(byte in kept for kept in SELF):
            yield chr(byte), byte
        else:
            yield chr(following), byte
            following += 1


ALPHABET = dict(_list_alphabet())


def _read_byte_level(name: str) -> bytes:
    """Returns the bytes of a token of byte-level BPE. NB: one outside its alphabet was added by hand, as text."""
    try:
        return bytes([ALPHABET[one] for one in name])
    except KeyError:
        return name.encode()


def _read_pieces(name: str) -> bytes:
    if len(name) == 6 and name.startswith("<0x") and name.endswith(">"):
        try:
            return bytes([int(name[3:5], 16)])
        except ValueError:
            pass
    return name.replace(SPACE, " ").encode()
