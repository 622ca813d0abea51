"""What the model thinks where thinking is on: a sum column by column, else a word on what is needed.

NB: no other sum is written down on the way, as it might be one that is held out.
"""

from __future__ import annotations

import re

from sample_model.dialogue import Exchange
from sample_model.facts import UNKNOWN_ANSWER

RESULT_IS_THERE = "The result is there."
NOTHING_NEEDED = "No tool and no sum is needed."
NOTHING_KNOWN = "I know nothing of this, and no tool tells it."


def think(exchange: Exchange, *, of_call: bool) -> str:
    """Returns the thought before the answer or, `of_call`, before the calls."""
    if of_call:
        return f"I need {' and '.join(dict.fromkeys(call.name for call in exchange.calls))}."
    if exchange.calls:
        return RESULT_IS_THERE
    if exchange.kind == "sum" and (found := re.match(r"(\d+) ([+-]) (\d+)", exchange.answer)):
        a, sign, b = found.groups()
        return _add(int(a), int(b)) if sign == "+" else _subtract(int(a), int(b))
    return NOTHING_KNOWN if exchange.answer == UNKNOWN_ANSWER else NOTHING_NEEDED


def _add(a: int, b: int) -> str:
    ones = a % 10 + b % 10
    said = f"Ones: {a % 10} and {b % 10} make {ones}."
    if max(a, b) < 10:
        return said
    carry = " and 1" if ones > 9 else ""
    return f"{said} Tens: {a // 10} and {b // 10}{carry} make {a // 10 + b // 10 + ones // 10}."


def _subtract(a: int, b: int) -> str:
    borrows = a % 10 < b % 10
    ones = a % 10 + 10 * borrows
    said = f"Ones: {ones} less {b % 10} is {ones - b % 10}."
    if a < 10:
        return said
    return f"{said} Tens: {a // 10}{' less 1' if borrows else ''} less {b // 10} is {a // 10 - borrows - b // 10}."
