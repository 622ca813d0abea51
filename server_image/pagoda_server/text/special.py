"""Only the template may write a special token.

A message can spell `<|im_end|>` and would so forge the end of its turn. Such text is therefore hidden before the
template is rendered, behind placeholders that nobody can guess, and put back afterwards as ordinary text. The ends of a
message that could complete a special token together with what stands beside them are hidden too.
"""

import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any

from tokenizers import AddedToken, models
from tokenizers import Tokenizer as RawTokenizer

Span = tuple[int, int]
UNKNOWN = "\0"
SLICE_CHARACTERS = 64 * 1024
"""NB: a normaliser may shorten a spelling without bound, so with one that matters the text is searched as a whole."""


class PlaceholderLost(Exception):
    """The template changed a placeholder, so the text behind it cannot be put back."""


@dataclass(frozen=True, slots=True)
class Section:
    text: str
    from_message: bool
    """True: holds a message's spelling of a special token; encode it as ordinary text."""


class SpecialTokens:
    """Finds the special tokens of a tokenizer in text, as that tokenizer would: in one pass, whatever their number."""

    def __init__(self, raw: RawTokenizer) -> None:
        tokens: list[AddedToken] = [token for token in raw.get_added_tokens_decoder().values() if token.special]
        texts = [token.content for token in tokens]
        normalizes = raw.normalizer is not None and any(token.normalized for token in tokens)
        self._finder = _build_finder(tokens, raw.normalizer if normalizes else None) if tokens else None
        self._slice = None if normalizes else SLICE_CHARACTERS
        self._heads = frozenset(text[:size] for text in texts for size in range(1, len(text)))
        self._tails = frozenset(text[-size:] for text in texts for size in range(1, len(text)))
        self._longest = max(map(len, texts), default=0)

    def find(self, text: str) -> list[Span]:
        """Returns where special tokens are.

        It looks slice by slice, as what the finder knows of each character takes many times its memory.
        """
        if self._slice is None:
            return self._find_in(text)
        spans: list[Span] = []
        start = 0
        while start < len(text):
            end = start + self._slice
            found = self._find_in(text[start : end + self._longest - 1])
            spans += [(start + first, start + last) for first, last in found if first < self._slice]
            start = max(end, spans[-1][1] if spans else 0)
        return spans

    def _find_in(self, text: str) -> list[Span]:
        if self._finder is None:
            return []
        encoding = self._finder.encode_batch([text], add_special_tokens=False)[0]
        return [span for token_id, span in zip(encoding.ids, encoding.offsets, strict=True) if token_id]

    def find_edges(self, text: str) -> list[Span]:
        """Returns the longest beginning of `text` that ends a special token, and the longest end that begins one."""
        longest = min(self._longest, len(text))
        start = next((size for size in range(longest, 0, -1) if text[:size] in self._tails), 0)
        end = next((size for size in range(longest, 0, -1) if text[-size:] in self._heads), 0)
        return [(0, start), (max(start, len(text) - end), len(text))]


class HiddenText:
    """The text taken out of one request's messages. Make one per request: its placeholders hold a fresh nonce."""

    def __init__(self, special: SpecialTokens) -> None:
        self._special = special
        self._nonce = secrets.token_hex(16)
        self._pattern = re.compile(rf"{self._nonce}x(\d+)x")
        self._hidden: list[str] = []

    def __bool__(self) -> bool:
        return bool(self._hidden)

    def hide(self, content: str) -> str:
        spans = _merge([*self._special.find(content), *self._special.find_edges(content)])
        pieces, kept = [], 0
        for start, end in spans:
            pieces += [content[kept:start], f"{self._nonce}x{len(self._hidden)}x"]
            self._hidden.append(content[start:end])
            kept = end
        return "".join([*pieces, content[kept:]])

    def restore(self, text: str) -> str:
        """Returns the text with all that was hidden back in its place. Raises `PlaceholderLost`."""
        text = self._pattern.sub(lambda match: self._hidden[int(match[1])], text)
        if self._nonce in text:
            raise PlaceholderLost
        return text

    def sections(self, rendered: str) -> Iterator[Section]:
        """Yields the rendered text, cut only at the template's own special tokens: there a tokenizer cuts it anyhow."""
        borders = [0, *(border for span in self._special.find(rendered) for border in span), len(rendered)]
        parts = [rendered[start:end] for start, end in pairwise(borders)]
        for from_message, group in groupby(parts, key=lambda part: self._nonce in part):
            yield Section(self.restore("".join(group)), from_message)


def _build_finder(tokens: Sequence[AddedToken], normalizer: Any) -> RawTokenizer:
    """Returns a tokenizer that knows nothing but the special tokens.

    Its search is the library's own, so a normalised spelling is found too.
    """
    finder = RawTokenizer(models.WordLevel({UNKNOWN: 0}, unk_token=UNKNOWN))
    if normalizer is not None:
        finder.normalizer = normalizer
    finder.add_special_tokens([AddedToken(token.content, normalized=token.normalized) for token in tokens])
    return finder


def _merge(spans: Sequence[Span]) -> list[Span]:
    """Returns the spans in order, none empty, without overlaps."""
    merged: list[Span] = []
    for start, end in sorted(span for span in spans if span[0] < span[1]):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
