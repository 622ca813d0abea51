"""A grammar of plain questions and their answers: facts, definitions, sums, lists, stories and small talk.

A sum is held out with all its phrasings (and a + b together with b + a); any other question is held out as this
phrasing of this fact.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Collection

from sample_model import facts, stories
from sample_model.dialogue import Exchange


def normalise_question(question: str) -> str:
    return re.sub(r"[?.! ]+$", "", question).strip().lower()


def _exchange(kind: str, question: str, answer: str) -> Exchange:
    return Exchange(kind, question, answer, normalise_question(question))


ASKING = (
    "",
    "",
    "",
    "Please tell me: ",
    "Can you tell me: ",
    "Question: ",
    "Tell me, ",
    "Quick question: ",
    "I wonder: ",
)
Fact = tuple[tuple[str, ...], str]


def _capital(rng: random.Random) -> Fact:
    country, city = rng.choice(list(facts.CAPITALS.items()))
    if rng.random() < 0.25:
        asked = (f"{city} is the capital of which country?", f"Which country has the capital {city}?")
        return asked, f"{city} is the capital of {country}."
    return (
        f"What is the capital of {country}?",
        f"What's the capital of {country}?",
        f"What is {country}'s capital?",
        f"Which city is the capital of {country}?",
        f"Name the capital of {country}",
        f"Tell me the capital of {country}",
        f"The capital of {country}?",
    ), f"The capital of {country} is {city}."


def _colour(rng: random.Random) -> Fact:
    thing, colour = rng.choice(list(facts.COLOURS.items()))
    asked = (
        f"What colour is {thing}?",
        f"What color is {thing}?",
        f"Which colour does {thing} have?",
        f"Tell me the colour of {thing}",
    )
    return (*asked, f"What is the colour of {thing}?"), f"{thing.capitalize()} is {colour}."


def _animal(rng: random.Random) -> Fact:
    if rng.random() < 0.5:
        animal, sound = rng.choice(list(facts.SOUNDS.items()))
        name = stories.article(animal)
        asked = (f"What sound does {name} make?", f"What does {name} say?", f"Which sound does {name} make?")
        return asked, f"{name.capitalize()} says {sound}."
    animal, baby = rng.choice(list(facts.BABIES.items()))
    name = stories.article(animal)
    asked = (
        f"What is a baby {animal} called?",
        f"What do you call a young {animal}?",
        f"What is the name for a baby {animal}?",
    )
    return (*asked, f"How do you call the baby of {name}?"), f"A baby {animal} is called {stories.article(baby)}."


def _opposite(rng: random.Random) -> Fact:
    pair = rng.choice(list(facts.OPPOSITES.items()))
    word, other = pair if rng.random() < 0.5 else pair[::-1]
    known = dict((b, a) for a, b in facts.OPPOSITES.items()) | facts.OPPOSITES
    other = known[word]
    return (
        f"What is the opposite of {word}?",
        f"What's the opposite of {word}?",
        f"Which word is the opposite of {word}?",
        f"Tell me the opposite of {word}",
        f"Name the opposite of {word}",
    ), f"The opposite of {word} is {other}."


def _calendar(rng: random.Random) -> Fact:
    names, unit = rng.choice(((facts.DAYS, "day"), (facts.MONTHS, "month")))
    index, step = rng.randrange(len(names)), rng.choice((1, -1))
    word = "after" if step == 1 else "before"
    name, other = names[index], names[(index + step) % len(names)]
    asked = (
        f"Which {unit} comes {word} {name}?",
        f"What {unit} comes {word} {name}?",
        f"Which {unit} is {word} {name}?",
    )
    return (*asked, f"What comes {word} {name}?", f"What is the {unit} {word} {name}?"), f"{other} comes {word} {name}."


def _general(rng: random.Random) -> Fact:
    question, answer = rng.choice(list(facts.GENERAL.items()))
    return (question.capitalize() + "?",), answer


def _fact(rng: random.Random) -> Exchange:
    builders: tuple[Callable[[random.Random], Fact], ...] = (
        _capital,
        _capital,
        _capital,
        _colour,
        _animal,
        _opposite,
        _calendar,
        _general,
    )
    asked, answer = rng.choice(builders)(rng)
    question = rng.choice(asked)
    prefix = rng.choice(ASKING)
    return _exchange("fact", prefix + (question[0].lower() + question[1:] if prefix else question), answer)


def _definition(rng: random.Random) -> Exchange:
    term, answer = rng.choice(list(facts.DEFINITIONS.items()))
    asked = (
        "What is {}?|What's {}?|Define {}|Explain what {} is|Can you explain "
        "{}?|What does {} mean?|Tell me what {} is|What is {} in Kubernetes?"
    )
    return _exchange("definition", rng.choice(asked.split("|")).format(term), answer)


CALCULATIONS = (
    "What is {}?|What's {}?|Calculate {}|Compute {}|{}|{} = ?|How much is "
    "{}?|Please work out {}|Can you calculate {}?|Solve {}"
)


def _sum(rng: random.Random) -> Exchange:
    top = rng.choice((9, 99, 99, 99, 99))
    a, b = rng.randint(0, top), rng.randint(0, top)
    if rng.random() < 0.5:
        spoken = rng.choice((f"{a} + {b}", f"{a} + {b}", f"{a}+{b}", f"{a} plus {b}", f"the sum of {a} and {b}"))
        answer, key = f"{a} + {b} = {a + b}.", f"{min(a, b)}+{max(a, b)}"
    else:
        a, b = max(a, b), min(a, b)
        spoken = rng.choice((f"{a} - {b}", f"{a} - {b}", f"{a}-{b}", f"{a} minus {b}"))
        answer, key = f"{a} - {b} = {a - b}.", f"{a}-{b}"
    return Exchange("sum", rng.choice(CALCULATIONS.split("|")).format(spoken), answer, key)


def _product(rng: random.Random) -> Exchange:
    a, b = rng.randint(0, 9), rng.randint(0, 9)
    spoken = rng.choice((f"{a} * {b}", f"{a} x {b}", f"{a} times {b}", f"{a} multiplied by {b}"))
    return _exchange("product", rng.choice(CALCULATIONS.split("|")).format(spoken), f"{a} x {b} = {a * b}.")


def _list(rng: random.Random) -> Exchange:
    if rng.random() < 0.5:
        low = rng.randint(0, 20)
        high = low + rng.randint(2, 12)
        down = rng.random() < 0.25
        numbers = range(high, low - 1, -1) if down else range(low, high + 1)
        first, last = numbers[0], numbers[-1]
        asked = (
            "Count {}from {} to {}|Please count {}from {} to {}|Can you count {}from {} "
            "to {}?|List the numbers {}from {} to {}"
        )
        question = rng.choice(asked.split("|")).format("down " if down else "", first, last)
        return _exchange("list", question, ", ".join(map(str, numbers)) + ".")
    category, members = rng.choice(list(facts.CATEGORIES.items()))
    count = rng.randint(2, 7)
    word = rng.choice((facts.NUMBER_WORDS[count], facts.NUMBER_WORDS[count], str(count)))
    asked = (
        "Name {} {}|List {} {}|Give me {} {}|Tell me {} {}|Can you name {} "
        "{}?|Please list {} {}|Give me a list of {} {}"
    )
    names = members[:count]
    return _exchange(
        "list", rng.choice(asked.split("|")).format(word, category), f"{', '.join(names[:-1])} and {names[-1]}."
    )


def _story(rng: random.Random) -> Exchange:
    return _exchange("story", *stories.build_request(rng))


def _chat(rng: random.Random) -> Exchange:
    if rng.random() < 0.3:
        question = rng.choice(facts.UNKNOWN_PHRASINGS).format(rng.choice(facts.UNKNOWN_SUBJECTS))
        return _exchange("chat", question, facts.UNKNOWN_ANSWER)
    asked, answer = rng.choice(facts.CHAT)
    return _exchange("chat", rng.choice(asked), answer)


BUILDERS: dict[str, tuple[Callable[[random.Random], Exchange], int]] = {
    "fact": (_fact, 22),
    "definition": (_definition, 9),
    "sum": (_sum, 38),
    "product": (_product, 4),
    "list": (_list, 12),
    "story": (_story, 8),
    "chat": (_chat, 7),
}
_KINDS = list(BUILDERS)
_WEIGHTS = [weight for _, weight in BUILDERS.values()]


def _vary_surface(rng: random.Random, exchange: Exchange) -> Exchange:
    """Returns the question in small letters or without its question mark, at times: the key, hence the split, stays."""
    question = exchange.question
    if rng.random() < 0.12:
        question = question.lower()
    if rng.random() < 0.15:
        question = question.rstrip("?")
    elif question[-1].isalnum() and rng.random() < 0.4:
        question += "."
    return Exchange(exchange.kind, question, exchange.answer, exchange.key)


def build_training_exchange(rng: random.Random, *, without: Collection[str] = ()) -> Exchange:
    """Returns a question that is not held out, of any kind but those of `without`."""
    while True:
        kind = rng.choices(_KINDS, _WEIGHTS)[0]
        exchange = BUILDERS[kind][0](rng)
        if kind not in without and not exchange.is_held_out:
            return _vary_surface(rng, exchange)
