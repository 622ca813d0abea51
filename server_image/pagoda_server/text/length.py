"""How few tokens a text can have, so that one far above the context is refused before it is encoded.

Only what is certain counts: a tokenizer whose steps may drop or join characters without a known bound has none.
"""

import json
from collections.abc import Iterator
from typing import Any

from tokenizers import Tokenizer as RawTokenizer
from tokenizers.pre_tokenizers import ByteLevel

NFC_CHARACTERS = 4
"""No character decomposes canonically into more (Unicode's stability policy), so NFC joins no more into one."""


def measure_longest_token(raw: RawTokenizer) -> int | None:
    """The most characters of input that one token can stand for; None when that is not certain.

    Certain for byte-level BPE: each character of its vocabulary is one byte of the text.
    """
    parts: dict[str, Any] = json.loads(raw.to_str())
    shrink = _count_normalized(parts["normalizer"])
    if shrink is None or not _keeps_bytes(parts):
        return None
    longest: int = max(map(len, raw.get_vocab(with_added_tokens=True)))
    return longest * shrink


def _count_normalized(normalizer: dict[str, Any] | None) -> int | None:
    """The most characters that the normalizer makes one."""
    kinds = [step["type"] for step in _flatten(normalizer, "normalizers")]
    if not set(kinds) <= {"NFC"}:
        return None
    return NFC_CHARACTERS if kinds else 1


def _keeps_bytes(parts: dict[str, Any]) -> bool:
    steps = list(_flatten(parts["pre_tokenizer"], "pretokenizers"))
    kinds = {step["type"] for step in steps}
    return (
        parts["model"]["type"] == "BPE"
        and set(ByteLevel.alphabet()) <= parts["model"]["vocab"].keys()
        and "ByteLevel" in kinds
        and kinds <= {"ByteLevel", "Digits", "Split"}
        and not any(step.get("behavior") == "Removed" for step in steps)
        and not any(token["lstrip"] or token["rstrip"] for token in parts["added_tokens"])
    )


def _flatten(step: dict[str, Any] | None, children: str) -> Iterator[dict[str, Any]]:
    if step is None:
        return
    if step["type"] != "Sequence":
        yield step
        return
    for child in step[children]:
        yield from _flatten(child, children)
