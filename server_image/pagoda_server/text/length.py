"""The minimum number of tokens that a text can have, so that one far above the context is refused before it is encoded.

Only what is certain counts: a tokenizer whose steps may drop or join characters without a known bound has none.
"""

import json
from collections.abc import Iterator
from typing import Any

from tokenizers import Tokenizer as RawTokenizer
from tokenizers.pre_tokenizers import ByteLevel

NFC_CHARACTERS = 4
"""No character decomposes canonically into more (Unicode's stability policy), so NFC joins no more into one."""
NORMALIZED_CHARACTERS = {"NFC": NFC_CHARACTERS, "NFKC": NFC_CHARACTERS, "NFD": 1, "NFKD": 1, "Prepend": 1}
"""The maximum number that each kind makes one. Others may drop some."""


def measure_longest_token(raw: RawTokenizer) -> int | None:
    """Returns the maximum number of input characters that one token can stand for; None when that is not certain.

    It is certain where every character has tokens of its own, whatever the text: in byte-level BPE each character of
    the vocabulary is one byte; in the manner of SentencePiece what the vocabulary lacks falls back to its bytes.
    """
    parts: dict[str, Any] = json.loads(raw.to_str())
    shrink = _count_normalized(parts["normalizer"])
    if shrink is None or not _keeps_text(parts):
        return None
    if not (_is_byte_level(parts) or _falls_back_to_bytes(parts)):
        return None
    longest: int = max(map(len, raw.get_vocab(with_added_tokens=True)))
    return longest * shrink


def _count_normalized(normalizer: dict[str, Any] | None) -> int | None:
    """Returns the maximum number of characters that the normalizer makes one; None when that is not certain."""
    shrink = 1
    for step in _flatten(normalizer, "normalizers"):
        made = _count_replaced(step) if step["type"] == "Replace" else NORMALIZED_CHARACTERS.get(step["type"])
        if made is None:
            return None
        shrink *= made
    return shrink


def _count_replaced(step: dict[str, Any]) -> int | None:
    pattern, content = step["pattern"].get("String"), step["content"]
    return -(-len(pattern) // len(content)) if pattern and content else None


def _keeps_text(parts: dict[str, Any]) -> bool:
    """Returns True when no step in front of the model drops a character."""
    steps = list(_flatten(parts["pre_tokenizer"], "pretokenizers"))
    return (
        {step["type"] for step in steps} <= {"ByteLevel", "Digits", "Metaspace", "Split"}
        and not any(step.get("behavior") == "Removed" for step in steps)
        and not any(token["lstrip"] or token["rstrip"] for token in parts["added_tokens"])
    )


def _is_byte_level(parts: dict[str, Any]) -> bool:
    kinds = {step["type"] for step in _flatten(parts["pre_tokenizer"], "pretokenizers")}
    model = parts["model"]
    return model["type"] == "BPE" and "ByteLevel" in kinds and set(ByteLevel.alphabet()) <= model["vocab"].keys()


def _falls_back_to_bytes(parts: dict[str, Any]) -> bool:
    model = parts["model"]
    if model["type"] not in ("BPE", "Unigram") or not model.get("byte_fallback"):
        return False
    vocab = model["vocab"] if model["type"] == "BPE" else {piece for piece, _ in model["vocab"]}
    return all(f"<0x{byte:02X}>" in vocab for byte in range(256))


def _flatten(step: dict[str, Any] | None, children: str) -> Iterator[dict[str, Any]]:
    if step is None:
        return
    if step["type"] != "Sequence":
        yield step
        return
    for child in step[children]:
        yield from _flatten(child, children)
