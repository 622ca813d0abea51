"""What tools return, in the many forms that programs give it, and how it is said in words."""

from __future__ import annotations

import json
import random
from typing import Any

from sample_model.draw import WORDS, alternatives, make_name

ERRORS = ("not found", "timeout", "unknown name", "no connection", "access denied", "service is down", "bad request")
UNDERSTOOD = ("ok", "OK", "done", "Done.", "saved", "success", "true", '{"ok": true}', '{"status": "ok"}', "null", "")
CONDITIONS = alternatives(
    "sunny|cloudy|rainy|windy|snowy|foggy|stormy|clear|cold|hot|warm|partly cloudy|light rain|dry|humid|overcast"
)
DEGREE_KEYS = alternatives("temperature|temperature|temp|temp_c|degrees|celsius")
SKY_KEYS = alternatives("condition|condition|conditions|weather|sky|description|summary")


def write_json(rng: random.Random, value: Any) -> str:
    form = rng.random()
    if form < 0.15:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return json.dumps(value, ensure_ascii=False, indent=2 if form < 0.2 else None)


def report(lead: str, text: str) -> str:
    """Returns a whole sentence as it is, anything else after its lead."""
    if text[-1] in ".!?" and " " in text and text[0].isupper():
        return text
    return f"{lead}: {text}" + ("" if text[-1] in ".!?" else ".")


def make_error(rng: random.Random) -> tuple[str, str]:
    """Returns the result of a tool that failed, and the answer then."""
    said = rng.choice(ERRORS) if rng.random() < 0.6 else " ".join(rng.choices(WORDS, k=rng.randint(1, 4)))
    forms = (write_json(rng, {"error": said}), f"Error: {said}", f"error: {said}")
    return rng.choice(forms), f"The tool failed: {said}."


def make_value(rng: random.Random) -> str:
    """Returns a value of any kind, as text."""
    forms = (
        lambda: str(rng.randint(0, 10 ** rng.randint(1, 6))),
        lambda: f"{rng.uniform(0, 500):.2f}",
        lambda: f"{rng.choice('$€')}{rng.randint(1, 999)}",
        lambda: f"{rng.randint(2020, 2030)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}",
        lambda: make_name(rng),
        lambda: " ".join(rng.choices(WORDS, k=rng.randint(1, 5))),
        lambda: " ".join(rng.choices(WORDS, k=rng.randint(1, 5))),
        lambda: " ".join(rng.choices(WORDS, k=rng.randint(3, 9))).capitalize() + rng.choice(".."),
    )
    return rng.choice(forms)()


def make_weather(rng: random.Random, city: str) -> tuple[str, str]:
    """Returns a report of the weather, and the answer."""
    degrees: int | float = rng.randint(-20, 40) if rng.random() < 0.8 else round(rng.uniform(-20, 40), 1)
    sky, form = rng.choice(CONDITIONS), rng.random()
    if form < 0.4:
        return _make_free_weather(rng, city, degrees, sky)
    measured: int | float | str = f"{degrees}°C" if rng.random() < 0.15 else degrees
    warmth = measured if isinstance(measured, str) else f"{degrees} degrees"
    fields: dict[str, Any] = {}
    if form < 0.9:
        fields[rng.choice(DEGREE_KEYS)] = measured
    if form > 0.5:
        fields[rng.choice(SKY_KEYS)] = sky
    said = " and ".join(part for part in (warmth if form < 0.9 else "", sky if form > 0.5 else "") if part)
    return write_json(rng, _with_noise(rng, fields, city)), f"It is {said} in {city}."


def _make_free_weather(rng: random.Random, city: str, degrees: int | float, sky: str) -> tuple[str, str]:
    if rng.random() < 0.25:
        return str(degrees), f"It is {degrees} degrees in {city}."
    if rng.random() < 0.25:
        return sky, f"It is {sky} in {city}."
    text = rng.choice(
        (
            f"{sky}, {degrees} degrees",
            f"{degrees}°C",
            f"{degrees}°C and {sky}",
            f"{degrees} degrees and {sky}",
            f"{sky.capitalize()}, {degrees}°C",
            f"It is {sky}.",
            f"It's always {sky} in {city}!",
            f"It is {degrees} degrees and {sky} in {city}.",
            f"The weather in {city} is {sky} with {degrees} degrees.",
            f"{rng.choice(WORDS)} and {sky}",
        )
    )
    return text, report(f"The weather in {city}", text)


def _with_noise(rng: random.Random, fields: dict[str, Any], place: str) -> dict[str, Any]:
    """Returns the fields among others that no answer needs, in any order."""
    others = {
        rng.choice(("city", "location", "place")): place,
        rng.choice(("humidity", "wind", "pressure")): rng.randint(0, 100),
        "unit": rng.choice(("celsius", "C")),
    }
    kept = {name: value for name, value in others.items() if rng.random() < 0.25}
    items = list((fields | kept).items())
    if rng.random() < 0.5:
        rng.shuffle(items)
    return dict(items)


def make_time(rng: random.Random, city: str) -> tuple[str, str]:
    """Returns what a clock says, and the answer; the city may be empty."""
    hour, minute = rng.randint(0, 23), rng.randint(0, 59)
    time = rng.choice(
        (
            f"{hour:02}:{minute:02}",
            f"{hour:02}:{minute:02}",
            f"{hour:02}:{minute:02}:{rng.randint(0, 59):02}",
            f"{hour % 12 + 1}:{minute:02} {rng.choice(('AM', 'PM'))}",
            f"2026-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}T{hour:02}:{minute:02}:00",
        )
    )
    answer = f"It is {time} in {city}." if city else f"It is {time}."
    form = rng.random()
    if form < 0.5:
        return time, answer
    if form < 0.6:
        return answer, answer
    key = rng.choice(("time", "time", "local_time", "current_time", "now", "datetime"))
    return write_json(rng, _with_noise(rng, {key: time}, city) if city else {key: time}), answer
