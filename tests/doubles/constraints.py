"""A constraint by a table, for tests of what follows one: no grammar, no library."""

from collections.abc import Mapping, Sequence

from pagoda_server.engine.constraint import Constraint, Masks

Table = Mapping[int, Mapping[int, int]]
"""For each state the tokens that may come, and the state after each. State 0 is the first."""
END = -1
"""After it nothing may come but the model's end of sequence."""


class TableConstraint:
    """Implements `Constraint`. A token that its state does not know is an error, as one after `limit` tokens is."""

    def __init__(self, table: Table, eos_token_ids: Sequence[int], *, limit: int | None = None) -> None:
        self.accepted: list[int] = []
        self._table, self._eos, self._limit = table, tuple(eos_token_ids), limit
        self._states = [0]
        self._error: str | None = None

    @property
    def error(self) -> str | None:
        return self._error

    @property
    def allowed(self) -> list[int]:
        """Returns the tokens that may come next."""
        if self._error is not None or self._states[-1] == END:
            return list(self._eos)
        return list(self._table[self._states[-1]])

    def accept(self, token_id: int) -> None:
        if self._error is not None:
            return
        if token_id not in self.allowed:
            self._error = f"token {token_id} may not come after {self.accepted}"
        elif self._limit is not None and len(self.accepted) >= self._limit:
            self._error = f"the answer needs more than {self._limit} tokens"
        else:
            self.accepted.append(token_id)
            is_end = token_id in self._eos and token_id not in self._table.get(self._states[-1], {})
            self._states.append(END if is_end else self._table[self._states[-1]][token_id])

    def rollback(self, num_tokens: int) -> None:
        assert 0 <= num_tokens <= len(self.accepted), "nothing else was accepted"
        kept = len(self.accepted) - num_tokens
        del self.accepted[kept:], self._states[kept + 1 :]
        self._error = None


def fill_masks(constraints: Sequence[Constraint], masks: Masks) -> None:
    """Implements `FillMasks` for those of this module."""
    words = masks.view("uint32")
    words.fill(0)
    for constraint, mask in zip(constraints, words, strict=True):
        assert isinstance(constraint, TableConstraint)
        for token_id in constraint.allowed:
            mask[token_id // 32] |= 1 << (token_id % 32)
