"""What a request costs the server: sequences, since each takes a row of its batch, and tokens. Never requests."""

from dataclasses import dataclass
from typing import Literal

Measure = Literal["sequences", "tokens"]


@dataclass(frozen=True, slots=True)
class Weight:
    sequences: int
    tokens: int

    def __add__(self, other: "Weight") -> "Weight":
        return Weight(self.sequences + other.sequences, self.tokens + other.tokens)

    def __sub__(self, other: "Weight") -> "Weight":
        return Weight(self.sequences - other.sequences, self.tokens - other.tokens)

    def beyond(self, other: "Weight") -> "Weight":
        """Returns what this has more than the other, nothing where it has less."""
        return Weight(max(self.sequences - other.sequences, 0), max(self.tokens - other.tokens, 0))

    def of(self, measure: Measure) -> int:
        return self.sequences if measure == "sequences" else self.tokens

    def find_excess(self, bounds: "Weight") -> Measure | None:
        """Returns the measure in which this is above the bounds, None when it is within them."""
        if self.sequences > bounds.sequences:
            return "sequences"
        return "tokens" if self.tokens > bounds.tokens else None


NOTHING = Weight(0, 0)
MINIMUM = Weight(1, 0)
"""No request weighs less."""
