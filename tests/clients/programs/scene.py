"""What every client is given: the model's address, the questions, a tool; and how a program tells what its client got.

A program has one function a case, named after it, and returns what the client gave it; `main` prints each as a JSON
line. What should be in them is said in one place, `tests/clients/cases.py`. Nothing here knows a client.
"""

import asyncio
import inspect
import json
import sys
import traceback

BASE_URL = sys.argv[1]
"""Ends in /v1."""
MODEL = "pagoda-tiny"
KEY = "unused"
FIRST, SECOND = "What is the capital of Norway?", "What is the capital of Chile?"
WEATHER_FIRST, WEATHER_SECOND = "What is the weather in Paris?", "And in Rome?"
PERSON = "John Doe is 30 years old."
STORY = "Tell me a short story about a fox."
WEATHER = {"Paris": {"temperature": -3, "condition": "stormy"}, "Rome": {"temperature": 31, "condition": "windy"}}
"""Nowhere else, so an answer that says it has read the tool's result."""
CITY_SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}

called: list[str] = []
_cases = []


def get_weather(city: str) -> str:
    """Get the weather in a city."""
    called.append(city)
    return json.dumps(WEATHER.get(city, {"error": "unknown city"}))


def case(function):
    _cases.append(function)
    return function


def main() -> None:
    """Runs the cases in their order; one that fails is told with its traceback, and the others run on."""
    with asyncio.Runner() as runner:
        for function in _cases:
            called.clear()
            try:
                got = runner.run(function()) if inspect.iscoroutinefunction(function) else function()
            except Exception:
                got = {"error": traceback.format_exc()}
            print(json.dumps({"case": function.__name__} | got, default=str), flush=True)
