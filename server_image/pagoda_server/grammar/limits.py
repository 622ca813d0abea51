"""What compiling a grammar and following it may take, and what is said where it takes more."""

import re

from llguidance import LLParserLimits

MAX_ITEMS = 2_000
"""That a parser may be in the middle of at one place: about four for each property that may come next."""
LIMITS = LLParserLimits(  # of a step about 8 ms, more than ten times what usual forms take
    max_items_in_row=MAX_ITEMS,
    initial_lexer_fuel=1_000_000,
    step_lexer_fuel=100_000,
    step_max_items=25_000,
    max_lexer_states=50_000,
    max_grammar_size=500_000,
    verbose_errors=False,
)
MAX_SAID_CHARACTERS = 300
TOO_WIDE = "too much may come at one place; make properties required, or give it fewer properties or branches"
TOO_COMPLEX = "its regular expressions are too complex together; bound them closer, or give fewer patterns"
OVERLAPPING = "branches of oneOf may overlap; use anyOf, or let each require a property with a const of its own"
TOO_LARGE = "it is too large once references and branches are combined; give a smaller one"
ENDLESS = "no answer can ever satisfy it; give it an end, or loosen what contradicts itself"
SAID = (
    (re.compile(r"Current row has \d+ items|ParserTooComplex|max_items|too many items"), TOO_WIDE),
    (re.compile(r"LexerTooComplex|too many (expressions|states)|fuel|regex is empty"), TOO_COMPLEX),
    (re.compile(r"NoExtension"), ENDLESS),
    (re.compile(r"oneOf constraints are not supported"), OVERLAPPING),
    (re.compile(r"schema too large|[Gg]rammar size"), TOO_LARGE),
    (re.compile(r"^panic"), "it cannot be compiled; make it simpler"),
)
"""What the compiler says, and what is said instead."""


def describe_failure(said: str) -> str:
    """Returns the compiler's failure in one line, which says what to change where the compiler's own words do not."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    first = lines[0] if lines else "unknown failure"
    for pattern, words in SAID:
        if pattern.search(first):
            return words
    if "regex parse error" in first:
        reasons = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        first = f"a regular expression is wrong: {reasons[0] if reasons else 'it cannot be read'}"
    return first[:MAX_SAID_CHARACTERS]
