"""What the engine needs of a grammar: which tokens may come next. `pagoda_server.grammar` has the one in use.

A constraint follows its request token by token. The engine asks for masks while the device computes the step that they
are for, and never waits for a constraint to be built.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pagoda_server.wire import Grammar

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


@dataclass(frozen=True, slots=True)
class FailedGrammar:
    """Why there is no constraint, and what to change; `place` is the JSON pointer of the schema at fault, if known."""

    problem: str
    place: str = ""
    is_busy: bool = False
    """It may be tried again as it is."""


OnCompiled = Callable[[Constraint | FailedGrammar], None]


class GrammarCompiler(Protocol):
    """What makes constraints: beside the thread that steps, in bounded time."""

    def compile(self, grammar: Grammar, on_compiled: OnCompiled) -> None:
        """Returns at once; `on_compiled` is called on whatever thread, this one too when the grammar is known."""
