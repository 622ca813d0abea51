"""A setting is declared once, as a field of a frozen dataclass; its check, flag, help and command line come from there.

    gpu_memory_fraction: Annotated[float, Setting("the share of each GPU's memory", above=0, maximum=1)] = 0.9

is `--gpu-memory-fraction` (see `flags`), and its dataclass calls `check` in `__post_init__`. A field without a
`Setting` is not a setting.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import MISSING, dataclass, fields
from types import NoneType
from typing import Any, Literal, Union, get_args, get_origin

VARIABLE_PREFIX = "PAGODA_"
SWITCH = ("false", "true")
COLLECTIONS: dict[Any, Callable[[Iterator[Any]], Any]] = {tuple: tuple, frozenset: frozenset}
NOUNS = {int: "a whole number", float: "a number", bool: "true or false"}


class SettingError(ValueError):
    """A setting has a value that its program cannot run with. The message names the setting, the value and the fix."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What a field says of itself beside its type and its default.

    The type makes a number, a path, one of a Literal's words or the parts between commas of a text. `parse`, which may
    be a method of the type too, does it instead; it raises ValueError with the text and what is accepted.
    """

    help: str
    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    below: float | None = None
    is_filled: bool = False
    """An empty text is refused."""
    has_flag: bool = True
    """Otherwise only code gives a value."""
    takes_words: bool = False
    """The parts of a tuple may be words of their own on the command line."""
    parse: Callable[[str], Any] | None = None

    @property
    def bounds(self) -> str:
        """Returns "0 to 65535", "at least 1", "above 0 and at most 1", or nothing."""
        if self.minimum is not None and self.maximum is not None:
            return f"{self.minimum:g} to {self.maximum:g}"
        words = {"at least": self.minimum, "above": self.above, "at most": self.maximum, "below": self.below}
        return " and ".join(f"{word} {bound:g}" for word, bound in words.items() if bound is not None)

    def is_within(self, value: Any) -> bool:
        """Returns False for NaN too, where there is a bound."""
        return (
            (self.minimum is None or value >= self.minimum)
            and (self.maximum is None or value <= self.maximum)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )


@dataclass(frozen=True, slots=True)
class Declared:
    """A field with its `Setting`. `kind` is its type without None, `default` MISSING where a value is required."""

    name: str
    kind: Any
    default: object
    setting: Setting

    @property
    def flag(self) -> str:
        """Returns what turns it off, for a boolean that is on by default."""
        return f"--{'no-' if self.default is True else ''}{self.name.replace('_', '-')}"

    @property
    def variable(self) -> str:
        return VARIABLE_PREFIX + self.name.upper()

    @property
    def meaning(self) -> str:
        return f"without {self.setting.help}" if self.default is True else self.setting.help

    @property
    def choices(self) -> tuple[str, ...]:
        return get_args(self.kind) if get_origin(self.kind) is Literal else ()

    @property
    def accepted(self) -> str:
        """Returns "auto, cpu or cuda", "at least 1", "a number above 0", or nothing."""
        if self.choices:
            return " or ".join([", ".join(self.choices[:-1]), self.choices[-1]])
        bounds = self.setting.bounds
        return f"a number {bounds}" if bounds.startswith("above") else bounds

    @property
    def default_text(self) -> str:
        """Returns nothing for None, an empty one and a switch: the help says what they mean."""
        return "" if self.default in (MISSING, None) or self.kind is bool else format_value(self.default)

    def parse(self, text: str) -> Any:
        """Raises SettingError when `text` is no such value. `check` knows the bounds."""
        collect = COLLECTIONS.get(get_origin(self.kind))
        if collect is not None and self.setting.parse is None:
            parts = (part.strip() for part in text.split(","))
            return collect(self._parse_one(get_args(self.kind)[0], part) for part in parts if part)
        return text if self.choices else self._parse_one(self.kind, text)

    def _parse_one(self, kind: Any, text: str) -> Any:
        own: Callable[[str], Any] = _parse_switch if kind is bool else getattr(kind, "parse", kind)
        try:
            return (self.setting.parse or own)(text)
        except ValueError as error:
            if self.setting.parse is not None or kind not in NOUNS:
                raise SettingError(f"{self.name}: {error}") from None
        bounds = f" ({self.setting.bounds})" if self.setting.bounds else ""
        raise SettingError(f"{self.name} is {text!r}; give {NOUNS[kind]}{bounds}")

    def check(self, value: Any) -> None:
        """Raises SettingError when a value other than None is empty, no choice, or out of bounds."""
        if value is None:
            return
        if self.setting.is_filled and not value:
            raise SettingError(f"{self.name} is empty; give {self.setting.help}")
        if (self.choices and value not in self.choices) or not self.setting.is_within(value):
            raise SettingError(f"{self.name} is {value!r}; give {self.accepted}")


def declare(kind: type[Any], names: Collection[str] | None = None) -> Iterator[Declared]:
    """Yields the settings of a dataclass in their order, all of them or those of some names."""
    for field in fields(kind):
        for setting in getattr(field.type, "__metadata__", ()):
            if isinstance(setting, Setting) and (names is None or field.name in names):
                yield Declared(field.name, _drop_none(get_args(field.type)[0]), field.default, setting)


def check(settings: object) -> None:
    """Raises SettingError for the first field that is not as it declares."""
    for declared in declare(type(settings)):
        declared.check(getattr(settings, declared.name))


def format_value(value: object) -> str:
    """Returns the text that is parsed as `value`."""
    if isinstance(value, tuple | frozenset):
        return ",".join(map(str, value if isinstance(value, tuple) else sorted(value)))
    return str(value)


def _parse_switch(text: str) -> bool:
    return bool(SWITCH.index(text))


def _drop_none(kind: Any) -> Any:
    parts = get_args(kind)
    return Union[tuple(part for part in parts if part is not NoneType)] if NoneType in parts else kind  # noqa: UP007
