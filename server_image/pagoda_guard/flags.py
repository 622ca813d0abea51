"""Declared settings as flags and variables, and as the command line of a child process.

What flags and variables hold stays text until `read_settings`, so that all of it is parsed and refused in one way.
"""

import argparse
from collections.abc import Collection, Mapping
from dataclasses import MISSING
from pathlib import Path
from typing import Any, TypeVar

from pagoda_guard.settings import SWITCH, Declared, declare, format_value

T = TypeVar("T")
METAVARS = {int: "N", float: "X", Path: "PATH", tuple[str, ...]: "A,B", frozenset[str]: "A,B"}


def add_flags(
    parser: argparse.ArgumentParser,
    kind: type[Any],
    names: Collection[str] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
) -> None:
    """Adds the flags of a dataclass, all or those of some names. `environ` may hold a variable behind each of them."""
    for declared in declare(kind, names):
        if declared.setting.has_flag:
            variable = "" if environ is None else declared.variable
            text = None if environ is None else environ.get(variable)
            options = _choose_action(declared, is_given=text is not None)
            help_text = _describe(declared, variable)
            parser.add_argument(declared.flag, dest=declared.name, default=text, help=help_text, **options)


def read_settings(kind: type[T], flags: argparse.Namespace, **given: Any) -> T:
    """Returns `kind` as the flags say, beside the fields that are given. Raises SettingError."""
    values = {}
    for declared in declare(kind):
        text = getattr(flags, declared.name, None)
        if text is not None and declared.name not in given:
            values[declared.name] = declared.parse(",".join(text) if isinstance(text, list) else text)
    return kind(**values, **given)


def build_arguments(settings: object, names: Collection[str] | None = None) -> list[str]:
    """Returns the words of which `read_settings` makes the same settings, all of them or those of some names."""
    return [
        word
        for declared in declare(type(settings), names)
        if declared.setting.has_flag
        for word in _write(declared, getattr(settings, declared.name))
    ]


def _choose_action(declared: Declared, *, is_given: bool) -> dict[str, Any]:
    if declared.kind is bool:
        return {"action": "store_const", "const": SWITCH[declared.default is False]}
    metavar = "{" + ",".join(declared.choices) + "}" if declared.choices else METAVARS.get(declared.kind)
    options = {"required": declared.default is MISSING and not is_given, "metavar": metavar}
    return options | {"nargs": "+"} if declared.setting.takes_words else options


def _describe(declared: Declared, variable: str) -> str:
    default = declared.default_text and f"default {declared.default_text}"
    notes = "; ".join(filter(None, [declared.setting.bounds, default, variable]))
    return (declared.meaning + (f" ({notes})" if notes else "")).replace("%", "%%")


def _write(declared: Declared, value: Any) -> list[str]:
    if value is None or (declared.kind is bool and value is declared.default):
        return []
    return [declared.flag] if declared.kind is bool else [f"{declared.flag}={format_value(value)}"]
