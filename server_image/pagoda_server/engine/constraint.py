"""What the engine needs of a grammar: which tokens may come next. `pagoda_server.grammar` has the one in use.

A constraint follows its request token by token. The engine asks for masks while the device computes the step that they
are for, and never waits for a constraint to be built.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Masks = NDArray[np.int32]
"""[rows, words]: bit `t % 32` of word `t // 32` is set where token `t` may come next."""


class Constraint(Protocol):
    """One request's."""

    @property
    def error(self) -> str | None:
        """Returns why it can follow no further: a token that was not allowed, or a limit that was met."""

    def accept(self, token_id: int) -> None:
        """Follows a token that was chosen, stop tokens too."""

    def rollback(self, num_tokens: int) -> None:
        """Takes back the last tokens that were accepted."""


class FillMasks(Protocol):
    def __call__(self, constraints: Sequence[Constraint], masks: Masks) -> None:
        """Writes the mask of each constraint to its row.

        One in error, or after which nothing may come, allows the model's end of sequence alone.
        """
