"""The environment of a model's chat template: jinja's immutable sandbox, as in transformers, with a budget.

The template is its author's code, so the bounds must hold whatever it says. Each pass of a loop, each call, filter,
test, comparison, operator, list and output is counted before it is done; what grows faster than its arguments is
foretold.
"""

import json
from collections.abc import Callable
from datetime import datetime
from functools import partial, wraps
from types import GeneratorType
from typing import Any

import jinja2
from jinja2 import nodes, pass_context
from jinja2.ext import loopcontrols
from jinja2.runtime import Context, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from pagoda_server.text.budget import current
from pagoda_server.text.counting import count_work
from pagoda_server.text.growth import limit_integers, predict_call, predict_operator

REFUSED_ATTRIBUTES = frozenset({"encode", "expandtabs", "format_map", "from_bytes", "to_bytes", "translate"})
"""Methods whose results grow with products of their arguments; no template is known to use one."""
REFUSED_FILTERS = ("pprint", "striptags", "urlize", "wordwrap", "xmlattr")
STEPS_PER_CALL = 10
"""A macro's body may cost much beside what is counted in it."""
Function = Callable[..., Any]


class Sandbox(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self) -> None:
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
        refusals = {name: _build_refusal(name) for name in REFUSED_FILTERS}
        filters: dict[str, Any] = {**self.filters, "tojson": _tojson, **refusals}
        self.filters = {name: _guard(name, function) for name, function in filters.items()} | COUNTERS
        tests: dict[str, Any] = {**self.tests}
        self.tests = {name: _guard(name, function) for name, function in tests.items()}
        del self.globals["lipsum"]
        self.globals["namespace"] = _QuietNamespace
        self.globals["raise_exception"] = _raise_exception
        self.globals["strftime_now"] = _strftime_now

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = count_work(super()._parse(source, name, filename))
        tree.set_environment(self)
        return tree

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        return attr not in REFUSED_ATTRIBUTES and super().is_safe_attribute(obj, attr, value)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        current.get().step(STEPS_PER_CALL)
        method = getattr(__obj, "__wrapped__", __obj)
        owner = getattr(method, "__self__", None)
        return _run(
            getattr(method, "__name__", ""),
            partial(super().call, __context, __obj, *args, **kwargs),
            [owner, *args, *kwargs.values()],
            is_macro=isinstance(__obj, Macro),
        )

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        budget = current.get()
        budget.step()
        budget.make(predict_operator(operator, left, right))
        result = super().call_binop(context, operator, left, right)
        if not isinstance(result, str):
            budget.read(result)
        return result


class _QuietNamespace(Namespace):
    """A namespace that never shows what it holds: it may come to hold itself, by assignments that nothing counts."""

    def __repr__(self) -> str:
        return "<namespace>"


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def _strftime_now(pattern: str) -> str:
    return datetime.now().strftime(pattern)


def _build_refusal(name: str) -> Function:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise jinja2.TemplateError(f"the filter {name} is not supported")

    return refuse


def _tojson(value: object, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _guard(name: str, function: Function) -> Function:
    """Returns a filter or a test that is counted. Its first argument may be jinja's own."""
    skipped = int(hasattr(function, "jinja_pass_arg"))

    @wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        return _run(name, partial(function, *args, **kwargs), [*args[skipped:], *kwargs.values()])

    return guarded


def _run(name: str, function: Callable[[], Any], given: list[Any], *, is_macro: bool = False) -> Any:
    """Does a call. NB: a macro makes nothing by itself, so it may be told any integer, such as a tool's argument."""
    budget = current.get()
    for argument in given:
        budget.read(argument)
    if not is_macro:
        limit_integers(given[1:])
    budget.make(predict_call(name, given))
    result = function()
    if isinstance(result, GeneratorType | map | zip | enumerate | reversed):
        result = list(result)  # what is made later would be counted nowhere
    if isinstance(result, str):
        budget.make(len(result))
    else:
        budget.read(result)
    return result


@pass_context
def _count_pass(context: Context, value: bool) -> bool:
    current.get().step()
    return value


@pass_context
def _count_value(context: Context, value: Any) -> Any:
    current.get().read(value)
    return value


@pass_context
def _count_slice(context: Context, value: Any) -> Any:
    current.get().make(len(value) if hasattr(value, "__len__") else 0)
    return value


@pass_context
def _count_text(context: Context, value: Any) -> str:
    budget = current.get()
    if not isinstance(value, str):
        budget.read(value)
    text: str = value if isinstance(value, str) else str(value)
    budget.make(len(text))
    return text


@pass_context
def _concatenate(context: Context, parts: list[Any]) -> str:
    return "".join([_count_text(context, part) for part in parts])


COUNTERS: dict[str, Function] = {
    "pagoda.pass": _count_pass,
    "pagoda.value": _count_value,
    "pagoda.slice": _count_slice,
    "pagoda.text": _count_text,
    "pagoda.concatenate": _concatenate,
}
"""NB: functions that take the context are never computed while the template is compiled."""
