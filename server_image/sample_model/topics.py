"""What tools are asked for: the weather, the time, somebody's age to be saved, and the like.

A topic is one tool or a few, the ways to ask for what they tell, and the things that they can be asked about.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from sample_model import results
from sample_model.dialogue import Call, Parameter, Tool
from sample_model.draw import Draw, draw_city, draw_person, draw_words
from sample_model.toolbox import Purpose, build_call, build_tool, name_alternatives


@dataclass(frozen=True, slots=True)
class Subject:
    """One thing to ask about: how a question names it, the call that tells it, and the answer."""

    text: str
    call: Call
    answer: str
    question: str = ""
    """Where it is asked for in words of its own."""


@dataclass(frozen=True, slots=True)
class Topic:
    tools: tuple[Tool, ...]
    phrasings: tuple[str, ...]
    """With `{}` for the subject, or without, where there is none."""
    draw_subject: Callable[[Draw], Subject]
    follow_ups: tuple[str, ...] = ()


PLACES = name_alternatives("city|city|location|location|place|town|city_name|where|location_name")
AFTERWARDS = ("And in {}?", "What about {}?", "And {}?", "How about {}?")
WEATHER = Purpose(
    ("weather", "weather", "weather", "forecast", "weather forecast", "weather report", "temperature"),
    (
        "Get the weather in a city.",
        "Get the current weather in a given location.",
        "Get weather for a given city.",
        "Returns the weather of a place.",
        "The weather forecast.",
        "Current temperature and sky.",
        "Look up the weather.",
    ),
    PLACES,
)
TIME = Purpose(
    ("time", "time", "local time", "current time", "clock"),
    ("Get the time in a city.", "Returns the local time of a place.", "What time it is somewhere.", "The time."),
    PLACES,
)
UNITS = (("celsius", "fahrenheit"), ("celsius", "fahrenheit"), ("fahrenheit", "celsius"), ("metric", "imperial"))


def build_weather(draw: Draw) -> Topic:
    rng = draw.rng
    unit = None
    if rng.random() < 0.2:
        unit = Parameter(rng.choice(("unit", "units")), "string", rng.choice(UNITS), rng.random() < 0.4)
    places = [(*place, unit) for place in PLACES] if unit else PLACES
    tool = build_tool(draw, replace(WEATHER, parameters=places))

    def draw_subject(draw: Draw) -> Subject:
        city = draw_city(draw)
        result, answer = results.make_weather(rng, city)
        asked = rng.choice(unit.choices) if unit and rng.random() < 0.4 else ""
        chosen = asked or (unit.choices[0] if unit and unit.is_required else "")
        text = f"{city} in {asked}" if asked else city
        return Subject(text, build_call(tool, (city, chosen) if chosen else (city,), result), answer)

    phrasings = (
        "What is the weather in {}?|What is the weather in {}?|What's the weather in {}?|How is the weather in {}?|"
        "What is the weather like in {}?|What's the weather like in {} today?|Tell me the weather in {}|"
        "Weather in {}|Weather in {}, please|What is the temperature in {}?|How warm is it in {}?|Is it warm in {}?|"
        "Will it rain in {}?|Is it raining in {}?|What is the weather in {} right now?|Check the weather for {}|"
        "I am in {}. How is the weather?|Give me the forecast for {}|How cold is it in {} today?"
    )
    return Topic((tool,), tuple(phrasings.split("|")), draw_subject, AFTERWARDS)


def build_time(draw: Draw) -> Topic:
    rng = draw.rng
    phrasings = (
        "What time is it in {}?|What time is it in {}?|What is the time in {}?|Tell me the time in {}|Time in {}?|"
        "What is the local time in {}?|What's the time in {} now?|Can you check the time in {}?|How late is it in {}?"
    )
    if rng.random() < 0.3:
        purpose = Purpose(TIME.nouns, ("Get the current time.", "The time now.", "What time it is."), [()])
        clock = build_tool(draw, purpose)

        def draw_now(draw: Draw) -> Subject:
            result, answer = results.make_time(rng, "")
            return Subject("", build_call(clock, (), result), answer)

        here = (
            "What time is it?|What is the time?|What's the time?|Tell me the time|What time is it now?|How late is it?"
        )
        return Topic((clock,), tuple(here.split("|")), draw_now)
    tool = build_tool(draw, TIME)

    def draw_subject(draw: Draw) -> Subject:
        city = draw_city(draw)
        result, answer = results.make_time(rng, city)
        return Subject(city, build_call(tool, (city,), result), answer)

    return Topic((tool,), tuple(phrasings.split("|")), draw_subject, AFTERWARDS)


SEARCH = Purpose(
    ("search", "search", "web search", "search web", "document search", "search docs", "internet search"),
    ("Search the web.", "Searches documents for a query.", "Find something on the internet.", "Full text search."),
    name_alternatives("query|query|q|text|term|search_term|keywords"),
    ("", "", "", "run", "do"),
)


def build_search(draw: Draw) -> Topic:
    rng = draw.rng
    tool = build_tool(draw, SEARCH)

    def draw_subject(draw: Draw) -> Subject:
        query = draw_words(draw, 1, 4)
        if rng.random() < 0.5:
            found = results.make_value(rng)
            return Subject(query, build_call(tool, (query,), found), results.report("I found", found))
        many = [draw_words(draw, 1, 3) for _ in range(rng.randint(1, 3))]
        value = many if rng.random() < 0.5 else {"results": many}
        return Subject(
            query, build_call(tool, (query,), results.write_json(rng, value)), f"I found: {', '.join(many)}."
        )

    phrasings = (
        "Search for {}|Search the web for {}|Please search for {}|Find {}|Look up {}|Can you search for {}?|Google {}|"
        "Do a search for {}|Find something about {}|I need to find {}"
    )
    return Topic((tool,), tuple(phrasings.split("|")), draw_subject, ("And for {}?", "Now search for {}"))


PERSON = Purpose(
    ("user", "person", "contact", "user info", "user detail", "user profile"),
    ("A person with a name and an age.", "Save a person.", "Extract the user's name and age.", "Correctly extracted."),
    [
        (Parameter(name, "string"), Parameter("age", "integer"))
        for name in ("name", "name", "name", "full_name", "user_name", "person")
    ]
    + [(Parameter("age", "integer"), Parameter("name", "string"))],
    ("", "", "", "save", "create", "add", "extract", "register"),
)


def build_person(draw: Draw) -> Topic:
    rng = draw.rng
    tool = build_tool(draw, PERSON)

    def draw_subject(draw: Draw) -> Subject:
        name, age = draw_person(draw), rng.randint(1, 99)
        text = rng.choice((f"{name} is {age} years old", f"{name} is {age} years old", f"{name}, {age} years old"))
        values = (age, name) if tool.parameters[0].name == "age" else (name, age)
        said = rng.choice(results.UNDERSTOOD)
        return Subject(text, build_call(tool, values, said), f"I saved {name}, {age} years old.")

    phrasings = "{}|{}|Extract: {}|Save this: {}|Please note: {}|Add a contact: {}|Extract {}|Remember: {}|Register {}"
    return Topic((tool,), tuple(phrasings.split("|")), draw_subject, ("And {}", "Also {}"))


TIMER = Purpose(
    ("timer", "timer", "alarm", "countdown", "kitchen timer"),
    ("Set a timer.", "Starts a timer of some minutes.", "Rings after the given time."),
    name_alternatives("minutes|minutes|duration|duration_minutes|time", "integer"),
    ("set", "set", "start", "create", "begin", ""),
)


def build_timer(draw: Draw) -> Topic:
    rng = draw.rng
    tool = build_tool(draw, TIMER)

    def draw_subject(draw: Draw) -> Subject:
        minutes = rng.randint(2, 120)
        said = rng.choice(results.UNDERSTOOD)
        answer = f"The timer is set for {minutes} minutes."
        return Subject(f"{minutes} minutes", build_call(tool, (minutes,), said), answer)

    phrasings = (
        "Set a timer for {}|Start a timer of {}|Wake me in {}|Set the alarm to {}|Remind me in {}|Timer, {}|"
        "Can you set a timer for {}?|I need a timer for {}"
    )
    return Topic((tool,), tuple(phrasings.split("|")), draw_subject)


DICE = Purpose(
    ("dice", "die", "a die", "a dice", "the dice"),
    ("Roll a six-sided die.", "Roll a six-sided die and return the result.", "A random number from 1 to 6."),
    [()],
    ("roll", "roll", "throw", ""),
)


def build_dice(draw: Draw) -> Topic:
    rng = draw.rng
    tool = build_tool(draw, DICE)

    def draw_subject(draw: Draw) -> Subject:
        rolled = rng.randint(1, 6) if rng.random() < 0.7 else rng.randint(7, 100)
        key = rng.choice(("value", "roll", "result"))
        result = str(rolled) if rng.random() < 0.7 else results.write_json(rng, {key: rolled})
        return Subject("", build_call(tool, (), result), f"You rolled {rolled}.")

    phrasings = (
        "Roll the dice|Roll a die|Roll a dice|Throw the dice|Please roll the dice|Roll the die for me|Roll again"
    )
    return Topic((tool,), tuple(phrasings.split("|")), draw_subject)
