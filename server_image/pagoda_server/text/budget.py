"""How much a chat template may do, so that none loops for ever or builds gigabytes, whoever wrote it.

Steps bound the time, characters the memory. Both grow with the messages: a long chat may cost more than a short one.
"""

from collections.abc import ItemsView, KeysView, Mapping, ValuesView
from contextvars import ContextVar

from jinja2.exceptions import SecurityError

STEPS = 50_000
STEPS_PER_MESSAGE = 10_000
STEPS_PER_MEMBER = 400
"""For each member of what messages and tools nest: templates walk through the schemas of tools by macros."""
CHARACTERS = 1024 * 1024
COPIES = 32
"""How often all characters of the messages may be copied: trimmed, joined, written."""
SCANNED_PER_STEP = 4096
"""Characters that are looked through in the time of a step."""


class TooMuchWork(SecurityError):
    """The template's loops do not end, or what they build does not."""


class Budget:
    def __init__(self, *, messages: int, characters: int, members: int = 0) -> None:
        self._steps = STEPS + STEPS_PER_MESSAGE * messages + STEPS_PER_MEMBER * members
        self._characters = CHARACTERS + COPIES * characters

    def step(self, count: int = 1) -> None:
        """Counts steps. Raises `TooMuchWork` beyond the budget."""
        self._steps -= count
        if self._steps < 0:
            raise TooMuchWork("it takes too many steps; does each of its loops end?")

    def make(self, characters: int) -> None:
        """Counts characters, before they are made. Raises `TooMuchWork` beyond the budget."""
        self._characters -= characters
        self._check(0)
        self.step(characters // SCANNED_PER_STEP)

    def read(self, value: object) -> None:
        """Counts what is in a value as if nothing in it were shared: so it is once somebody prints or compares it."""
        characters, waiting = 0, [value]
        while waiting:
            self.step()
            one = waiting.pop()
            if isinstance(one, str):
                characters += len(one)
                self._check(characters)
            elif isinstance(one, Mapping):
                waiting += one.keys()
                waiting += one.values()
            elif isinstance(one, range):
                self.step(len(one))
            elif isinstance(one, list | tuple | set | frozenset | KeysView | ValuesView | ItemsView):
                self.step(len(one))
                waiting += one
        self.step(characters // SCANNED_PER_STEP)

    def _check(self, more: int) -> None:
        if more > self._characters:
            raise TooMuchWork("it makes too much text; does each of its loops end?")


current: ContextVar[Budget] = ContextVar("template_budget")
"""The budget of the template in hand. NB: while one is compiled there is none, so nothing is computed then."""
