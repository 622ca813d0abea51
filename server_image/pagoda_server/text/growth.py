"""How much a template's operators and functions make: those whose results outgrow what they were given.

All others make a small multiple of their arguments, or as much as an integer among them says.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pagoda_server.text.arguments import Arguments
from pagoda_server.text.budget import TooMuchWork

MAX_ARGUMENT = 100_000
MAX_INTEGER_BITS = 4096
MAX_WIDTH = 9_999
"""The width of a field in a format; so many characters are counted for each."""


def limit_integers(arguments: Sequence[Any], maximum: int = MAX_ARGUMENT) -> None:
    """Raises `TooMuchWork` for a large width, precision or count: what is made grows with it, whatever the function."""
    if any(isinstance(argument, int) and abs(argument) > maximum for argument in arguments):
        raise TooMuchWork(f"it calls a function with an integer above {maximum}")


def predict_call(name: str, arguments: Sequence[Any]) -> int:
    """Returns how many characters the call makes. `arguments` begin with the value that it works on."""
    match name:
        case "replace":
            text, *others = (str(argument) for argument in arguments[:3])
            return max((text.count(old) * len(new) for old in others for new in others if old is not new), default=0)
        case "join":
            longest, other, *_ = sorted((len(one) for one in arguments if hasattr(one, "__len__")), reverse=True) + [
                0,
                0,
            ]
            return longest * other
        case "indent":
            return (len(str(arguments[0]).splitlines()) + 1) * _find_width(arguments[1:])
        case "tojson":
            return _count_indents(arguments[0], 1) * _find_width(arguments[1:])
        case "format":
            return predict_format(arguments)
    return 0


def predict_operator(operator: str, left: Any, right: Any) -> int:
    """Returns how many characters or items the operator makes. Raises `TooMuchWork` for an integer of too many bits."""
    left, right = (one.text if isinstance(one, Arguments) else one for one in (left, right))
    match operator:
        case "*":
            return _predict_product(left, right)
        case "**":
            _limit_bits(abs(left).bit_length() * right if isinstance(left, int) and isinstance(right, int) else 0)
        case "%" if isinstance(left, str):
            return predict_format([left, *(right if isinstance(right, tuple) else [right])])
        case "+" if isinstance(left, str | list | tuple) and isinstance(right, str | list | tuple):
            return len(left) + len(right)
    return 0


def predict_format(arguments: Sequence[Any]) -> int:
    """Returns how many characters `str.format` or `%` makes. NB: a width may also be among the arguments."""
    pattern = str(arguments[0])
    numbers = "".join(one if one.isdigit() else " " for one in pattern).split()
    if any(len(number) > len(str(MAX_WIDTH)) for number in numbers):
        raise TooMuchWork(f"one of its widths is above {MAX_WIDTH}")
    fields = pattern.count("%") + pattern.count("{")
    if "*" in pattern or "{" in pattern.replace("{", "", 1):
        limit_integers(arguments[1:], MAX_WIDTH)
    return fields * (MAX_WIDTH + sum(len(one) for one in arguments[1:] if isinstance(one, str)))


def _predict_product(left: Any, right: Any) -> int:
    if isinstance(left, int) and isinstance(right, int):
        _limit_bits(left.bit_length() + right.bit_length())
        return 0
    sized, times = (right, left) if isinstance(left, int) else (left, right)
    return len(sized) * max(0, times) if hasattr(sized, "__len__") and isinstance(times, int) else 0


def _limit_bits(bits: int) -> None:
    if bits > MAX_INTEGER_BITS:
        raise TooMuchWork(f"one of its integers has more than {MAX_INTEGER_BITS} bits")


def _find_width(arguments: Sequence[Any]) -> int:
    widths = [one if isinstance(one, int) else len(one) for one in arguments if isinstance(one, int | str)]
    return max([4, *widths])


def _count_indents(value: Any, depth: int) -> int:
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return depth + sum(_count_indents(item, depth + 1) for item in items)
