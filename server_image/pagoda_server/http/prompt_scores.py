"""What the engine said of the tokens of prompts. It stays packed, as it came, until somebody writes it."""

from collections.abc import Sequence

from pagoda_server.wire import NUMBER_BYTES, PromptLogprobs, TokenLogprobs


class PromptScores:
    """Of one HTTP request: of the prompts of its choices, by their indices."""

    def __init__(self) -> None:
        self._parts: dict[int, list[PromptLogprobs]] = {}

    def add(self, index: int, parts: Sequence[PromptLogprobs]) -> None:
        self._parts.setdefault(index, []).extend(parts)

    def count(self, index: int) -> int:
        """Returns how many log-probabilities reading it gives."""
        parts = self._parts.get(index, ())
        return sum(len(part.chosen) + len(part.top) for part in parts) // NUMBER_BYTES

    def read(self, index: int) -> list[TokenLogprobs | None]:
        """Returns those of each token: none of the first, nor of a prompt that was not scored."""
        return [None, *(score for part in self._parts.get(index, ()) for score in part.unpack())]
