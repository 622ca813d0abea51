"""Tools that look something up about something: the model has to find the words of the question among the names."""

from __future__ import annotations

from collections.abc import Callable

from sample_model import results
from sample_model.dialogue import Parameter, Value
from sample_model.draw import Draw, alternatives, draw_city, draw_code, draw_person, draw_words
from sample_model.toolbox import Purpose, build_call, build_tool, name_alternatives
from sample_model.topics import Subject, Topic

NOUNS = alternatives(
    "horoscope|delivery date|opening hours|phone number|address|salary|status|score|distance|recipe|rating|menu|"
    "balance|schedule|birthday|email|height|price|stock price|population|exchange rate|owner|size|weight|capacity|"
    "version|seat|ticket|flight status|order status|room number|arrival date|manager|team|language|currency|author|"
    "publisher|director|winner|speed|job title|tax rate|discount|stock level|warranty|licence|nickname|grade|mayor|"
    "length|depth|profile|history|summary|rank|budget|deadline|invoice|contract|password hint|shoe size|hobby|"
    "nationality|postcode|website|logo|motto|anthem|player name|model|series|chapter|title|doctor|teacher|coach"
)
IDENTIFIED = ("order", "ticket", "user", "customer", "item", "invoice", "account", "task")


def draw_noun(draw: Draw) -> str:
    """Returns what is looked up: at times a word that nobody looks up, so that words are compared, not remembered."""
    if draw.rng.random() < 0.35:
        return draw_words(draw, 1, 2)
    return draw.choose("noun:", lambda: draw.rng.choice(NOUNS))


def build_lookup(draw: Draw) -> Topic:
    """Returns a tool that tells one thing of cities, people, things, codes or numbered objects."""
    rng = draw.rng
    noun = draw_noun(draw)
    parameters, draw_entity = _build_entities(draw)
    told = (f"Get the {noun}.", f"Returns the {noun}.", f"The {noun} of something.", f"Look up the {noun}.")
    tool = build_tool(draw, Purpose((noun,), told, parameters))
    field = noun.replace(" ", "_")

    def draw_subject(draw: Draw) -> Subject:
        text, value = draw_entity(draw)
        found = results.make_value(rng)
        result = found
        if rng.random() < 0.4:
            own = {tool.parameters[0].name: value} if rng.random() < 0.3 else {}
            result = results.write_json(rng, own | {rng.choice((field, field, "value", "result")): found})
        return Subject(text, build_call(tool, (value,), result), results.report(f"The {noun} of {text}", found))

    phrasings = (
        f"What is the {noun} of {{}}?|What is the {noun} for {{}}?|What's the {noun} of {{}}?|"
        f"Show me the {noun} of {{}}|"
        f"Tell me the {noun} of {{}}|Give me the {noun} of {{}}|I need the {noun} for {{}}|Find the {noun} of {{}}|"
        f"Look up the {noun} of {{}}|{noun.capitalize()} of {{}}?|Which {noun} does {{}} have?|"
        f"What is my {noun}? I am {{}}|Check the {noun} for {{}}"
    )
    return Topic((tool,), tuple(phrasings.split("|")), draw_subject, ("And of {}?", "And {}?", "What about {}?"))


Entity = tuple[str, Value]
"""How it is named in a question, and as an argument."""


def _build_entities(draw: Draw) -> tuple[list[tuple[Parameter, ...]], Callable[[Draw], Entity]]:
    rng = draw.rng
    kind = rng.choice(("city", "person", "thing", "code", "number"))
    if kind == "number":
        label = rng.choice(IDENTIFIED)

        def draw_numbered(draw: Draw) -> Entity:
            number = rng.randint(1, 10 ** rng.randint(1, 5))
            return f"{label} {number}", number

        return name_alternatives(f"{label}_id|{label}_number|id|{label}", "integer"), draw_numbered
    names, make = {
        "city": ("city|place|location|country|name", draw_city),
        "person": ("name|person|user|player|employee|sign|customer", draw_person),
        "thing": ("item|name|product|thing|object|article", lambda draw: draw_words(draw, 1, 2)),
        "code": ("code|id|symbol|key|order_id|sku|reference|ticker", draw_code),
    }[kind]

    def draw_named(draw: Draw) -> Entity:
        text = make(draw)
        return text, text

    return name_alternatives(names), draw_named
