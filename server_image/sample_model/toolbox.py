"""Definitions of tools as people write them: one purpose under many names, with many names for its parameters."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sample_model.dialogue import Call, Parameter, Tool, Value
from sample_model.draw import Draw

VERBS = (
    "get",
    "get",
    "get",
    "get current",
    "fetch",
    "find",
    "look up",
    "show",
    "read",
    "query",
    "check",
    "tell",
    "",
    "",
)
ENDINGS = ("",) * 12 + ("info", "now", "tool", "data", "v2", "api", "service")
STYLES: tuple[Callable[[list[str]], str], ...] = (
    "_".join,
    "_".join,
    "_".join,
    "_".join,
    "-".join,
    lambda words: words[0] + "".join(word.capitalize() for word in words[1:]),
    lambda words: "".join(word.capitalize() for word in words),
)
REMARKS = ("Use it when the user asks.", "Returns JSON.", "It is fast.", "Call it once for each.", "Internal.")
OPTIONAL = ("limit", "verbose", "lang", "max_results", "format", "page")


@dataclass(frozen=True, slots=True)
class Purpose:
    """What some tools are for, in the words that their names and descriptions are made of."""

    nouns: Sequence[str]
    descriptions: Sequence[str]
    parameters: Sequence[Sequence[Parameter]]
    """One of these is taken."""
    verbs: Sequence[str] = VERBS


def build_name(rng: random.Random, purpose: Purpose) -> str:
    words = [*rng.choice(purpose.verbs).split(), *rng.choice(purpose.nouns).split(), *rng.choice(ENDINGS).split()]
    return rng.choice(STYLES)(words)


def build_tool(draw: Draw, purpose: Purpose) -> Tool:
    """Returns one of the purpose's tools, of a name and parameters that are on the draw's side of the split."""
    rng = draw.rng

    def make() -> Tool:
        parameters = tuple(rng.choice(purpose.parameters))
        if rng.random() < 0.12:
            parameters += (Parameter(rng.choice(OPTIONAL), rng.choice(("integer", "string")), is_required=False),)
        return Tool(build_name(rng, purpose), _describe(rng, purpose), parameters)

    return draw.choose("tool:", make, lambda tool: tool.signature)


def _describe(rng: random.Random, purpose: Purpose) -> str:
    if rng.random() < 0.2:
        return ""
    said = rng.choice(purpose.descriptions)
    if rng.random() < 0.3:
        said = said.rstrip(".")
    return f"{said} {rng.choice(REMARKS)}" if said.endswith(".") and rng.random() < 0.15 else said


def build_call(tool: Tool, values: Sequence[Value], result: str) -> Call:
    """Returns a call with values for the first parameters, in the order of the definition."""
    names = [parameter.name for parameter in tool.parameters]
    return Call(tool.name, dict(zip(names, values, strict=False)), result)


def name_alternatives(names: str, kind: str = "string") -> list[tuple[Parameter, ...]]:
    """Returns the parameters for each alternative: `a b|x y` are two parameters, under one pair of names or another."""
    return [tuple(Parameter(name, kind) for name in alternative.split()) for alternative in names.split("|")]
