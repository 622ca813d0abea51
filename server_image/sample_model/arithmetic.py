"""Tools that calculate, for numbers that the model cannot: one a operation, or a calculator that takes an expression.

NB: what is asked of them is held out by the same keys as plain sums, or a result here would give a held-out sum away.
"""

from __future__ import annotations

import operator
import random
from collections.abc import Callable

from sample_model import results
from sample_model.draw import Draw
from sample_model.questions import CALCULATIONS
from sample_model.toolbox import Purpose, build_call, build_tool, name_alternatives
from sample_model.topics import Subject, Topic

PAIRS = "a b|a b|a b|x y|first second|left right|num1 num2|n m|first_number second_number"
NUMBERS = [*name_alternatives(PAIRS, "integer"), *name_alternatives(PAIRS, "number")]
VERBS = ("", "", "", "compute", "calculate", "do")
OPERATIONS = {
    "+": Purpose(
        ("add", "add", "sum", "add numbers", "plus", "addition", "add two numbers"),
        ("Add two numbers.", "Adds a and b.", "Returns the sum of two numbers.", "The sum."),
        NUMBERS,
        VERBS,
    ),
    "-": Purpose(
        ("subtract", "subtract", "minus", "difference", "subtraction", "subtract numbers"),
        ("Subtract two numbers.", "Subtracts the second from the first.", "The difference of two numbers."),
        NUMBERS,
        VERBS,
    ),
    "*": Purpose(
        ("multiply", "multiply", "product", "times", "multiply numbers", "multiplication"),
        (
            "Multiply two numbers.",
            "Multiplies a and b.",
            "Multiply two integers and return the result.",
            "The product.",
        ),
        NUMBERS,
        VERBS,
    ),
    "/": Purpose(
        ("divide", "divide", "quotient", "division", "divide numbers"),
        ("Divide two numbers.", "Divides the first by the second.", "Divide a by b.", "The quotient."),
        NUMBERS,
        VERBS,
    ),
}
CALCULATOR = Purpose(
    ("calculator", "calculator", "calculate", "evaluate", "math", "arithmetic", "calculation"),
    ("A calculator.", "Evaluate a mathematical expression.", "Calculates an expression.", "Use it for arithmetic."),
    name_alternatives("expression|expression|formula|input|query|expr"),
    ("", "", "", "run", "use"),
)
SPOKEN = {
    "+": ("{} + {}", "{} + {}", "{}+{}", "{} plus {}", "the sum of {} and {}"),
    "-": ("{} - {}", "{} - {}", "{}-{}", "{} minus {}"),
    "*": ("{} * {}", "{} * {}", "{} x {}", "{} times {}", "{} multiplied by {}"),
    "/": ("{} / {}", "{} / {}", "{} divided by {}"),
}
COMMANDS = {
    "+": ("Add {} and {}", "Add up {} and {}"),
    "-": ("Subtract {1} from {0}",),
    "*": ("Multiply {} by {}", "Multiply {} and {}"),
    "/": ("Divide {} by {}",),
}
OPERATORS: dict[str, Callable[[int, int], int]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.floordiv,
}
FOLLOW_UPS = ("And {}?", "What about {}?", "Now {}")


def build_arithmetic(draw: Draw) -> Topic:
    return _build_calculator(draw) if draw.rng.random() < 0.35 else _build_operations(draw)


def _build_operations(draw: Draw) -> Topic:
    rng = draw.rng
    signs = rng.sample(list(OPERATIONS), rng.choice((1, 1, 1, 2, 2, 3, 4)))
    tools = {sign: build_tool(draw, OPERATIONS[sign]) for sign in signs}

    def draw_subject(draw: Draw) -> Subject:
        sign = rng.choice(signs)
        a, b = draw_numbers(draw, sign)
        result, number = make_result(rng, calculate(sign, a, b))
        command = rng.choice(COMMANDS[sign]).format(a, b) if rng.random() < 0.15 else ""
        text = rng.choice(SPOKEN[sign]).format(a, b)
        answer = f"{a} {sign.replace('*', 'x')} {b} = {number}."
        return Subject(text, build_call(tools[sign], (a, b), result), answer, command)

    return Topic(tuple(tools.values()), tuple(CALCULATIONS.split("|")), draw_subject, FOLLOW_UPS)


def _build_calculator(draw: Draw) -> Topic:
    rng = draw.rng
    tool = build_tool(draw, CALCULATOR)

    def draw_subject(draw: Draw) -> Subject:
        sign = rng.choice("+-*/")
        a, b = draw_numbers(draw, sign)
        text, expression = rng.choice(SPOKEN[sign]).format(a, b), f"{a} {sign} {b}"
        value = calculate(sign, a, b)
        if rng.random() < 0.2:
            c = rng.randint(1, 99)
            text = expression = f"{a} {sign} {b} + {c}"
            value = calculate("+", value, c)
        result, number = make_result(rng, value)
        return Subject(text, build_call(tool, (expression,), result), f"{expression} = {number}.")

    return Topic((tool,), tuple(CALCULATIONS.split("|")), draw_subject, FOLLOW_UPS)


def draw_numbers(draw: Draw, sign: str) -> tuple[int, int]:
    """Returns two numbers; no product is one of the table that plain questions ask for."""
    rng = draw.rng

    def make() -> tuple[int, int]:
        top = rng.choice((9, 99, 99, 999, 9999))
        a, b = rng.randint(0, top), rng.randint(1, rng.choice((top, 99)))
        if sign == "-":
            return max(a, b), min(a, b)
        return (a + 10, b) if sign == "*" else (a * b, b) if sign == "/" else (a, b)

    def key(pair: tuple[int, int]) -> str:
        a, b = (min(pair), max(pair)) if sign == "+" else pair
        return f"{a}{sign}{b}"

    return draw.choose("", make, key)


def calculate(sign: str, a: int, b: int) -> int:
    return OPERATORS[sign](a, b)


def make_result(rng: random.Random, value: int) -> tuple[str, str]:
    """Returns the tool's result and the number in it: at times a wrong one, as the answer is the tool's."""
    number = str(value if rng.random() < 0.85 else rng.randint(0, 10 ** rng.randint(1, 6)))
    form = rng.random()
    if form < 0.6:
        return number, number
    if form < 0.7:
        return rng.choice((f"The result is {number}.", f"The answer is {number}.", f"= {number}")), number
    return results.write_json(rng, {rng.choice(("result", "result", "value", "sum", "answer")): int(number)}), number
