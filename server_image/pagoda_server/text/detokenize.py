"""Tokens to text while they come: never half a character, never a stop string or what may still become one."""

from collections.abc import Callable, Sequence

REPLACEMENT = "\ufffd"


class Detokenizer:
    """Decodes a window of recent tokens, so a token costs the same at any length of the answer.

    The window begins one settled piece earlier, because decoders treat the first token of a text differently (spaces).
    """

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        self._settled: list[int] = []
        self._fresh: list[int] = []
        self._sent = 0
        """Characters of the fresh tokens that were given out already."""

    def push(self, token_ids: Sequence[int]) -> str:
        if not token_ids:
            return ""
        self._fresh.extend(token_ids)
        text = self._fresh_text()
        if text.endswith(REPLACEMENT):
            return self._take(text.rstrip(REPLACEMENT))
        piece = self._take(text)
        if text:
            self._settled, self._fresh, self._sent = self._fresh, [], 0
        return piece

    def flush(self) -> str:
        """Returns what is left when no more tokens come; half a character becomes U+FFFD."""
        piece = self._take(self._fresh_text()) if self._fresh else ""
        self._fresh, self._sent = [], 0
        return piece

    def _fresh_text(self) -> str:
        before = self._decode(self._settled)
        return self._decode(self._settled + self._fresh)[len(before) :]

    def _take(self, text: str) -> str:
        piece = text[self._sent :]
        self._sent = max(self._sent, len(text))
        return piece


class StopMatcher:
    """Finds the stop string that is complete first, however the text is cut into pieces."""

    def __init__(self, stops: Sequence[str], *, keeps_stop: bool = False) -> None:
        self._stops = tuple(stops)
        self._keeps_stop = keeps_stop
        self._held = ""
        self.found: str | None = None
        """The stop string that was met."""

    def push(self, text: str) -> tuple[str, bool]:
        """Returns text that is safe to send, and whether a stop string was met (nothing behind it is ever sent)."""
        text = self._held + text
        matches = [(at + len(stop), at, stop) for stop in self._stops if (at := text.find(stop)) >= 0]
        if matches:
            self._held = ""
            end, start, self.found = min(matches)
            return text[: end if self._keeps_stop else start], True
        keep = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep], False

    def flush(self) -> str:
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """Returns the length of the longest end of `text` that begins `stop`."""
    longest = min(len(text), len(stop) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(stop[:size])), 0)
