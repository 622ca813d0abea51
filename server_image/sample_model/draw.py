"""Random choices that keep what is held out apart from what is trained on, and the words that they choose from."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TypeVar

from sample_model import facts, stories
from sample_model.dialogue import is_held_out

T = TypeVar("T")


def alternatives(text: str) -> list[str]:
    """Returns `a`, `b` and `c` of `a|b|c`."""
    return text.split("|")


CITIES = [
    *facts.CAPITALS.values(),
    *alternatives(
        "New York|San Francisco|Los Angeles|Chicago|Boston|Seattle|Denver|Miami|Toronto|Montreal|Vancouver|Sydney|"
        "Melbourne|Auckland|Munich|Hamburg|Cologne|Frankfurt|Zurich|Geneva|Bern|Basel|Milan|Naples|Turin|Venice|"
        "Florence|Barcelona|Seville|Valencia|Porto|Lyon|Nice|Marseille|Bordeaux|Toulouse|Ghent|Antwerp|Rotterdam|"
        "Amsterdam|Utrecht|Bergen|Turku|Riga|Tallinn|Vilnius|Prague|Brno|Bratislava|Zagreb|Belgrade|Sofia|"
        "Istanbul|Dubai|Doha|Mumbai|Chennai|Shanghai|Shenzhen|Hong Kong|Singapore|Seoul|Busan|Osaka|Kyoto|Manila|"
        "Jakarta|Bangalore|Lagos|Accra|Dakar|Tunis|Cape Town|Durban|Bogota|Quito|Buenos Aires|Rio de Janeiro|"
        "Mexico City|San Diego|Santa Fe|Salt Lake City|Portland|Austin|Dallas|Houston|Phoenix|Leeds|Bristol|York|Bath"
    ),
]
REGIONS = ("CA", "NY", "TX", "France", "Germany", "Italy", "UK", "Japan", "USA", "Spain")
PEOPLE = alternatives(
    "Anna|Tom|Jason|Maria|John|Jane|Peter|Lucy|Omar|Nina|Hans|Ivan|Mei|Ada|Alan|Grace|Linus|Rosa|Kofi|Priya|Sara|"
    "Bob|Alice|Carol|Dave|Eve|Frank|Heidi|Oscar|Paul|Quinn|Ruth|Sam|Tina|Uma|Victor|Wendy|Yara|Zoe|Ben"
)
SURNAMES = alternatives("Smith|Doe|Brown|Rossi|Meyer|Novak|Silva|Kim|Tanaka|Khan|Lopez|Young|Stone|Hill|Wood|Green")
WORDS = [
    *stories.HEROES,
    *stories.THINGS,
    *stories.ADJECTIVES,
    *(
        name
        for category in ("colours", "fruits", "vegetables", "tools", "trees")
        for name in facts.CATEGORIES[category]
    ),
    *alternatives("cheap|new|best|shoes|hotel|bread|music|winter|summer|train|book|paper|glass|silver|gold|coffee|tea"),
]
_ONSETS = alternatives("b|c|d|f|g|h|k|l|m|n|p|r|s|t|v|w|z|br|cl|dr|gr|kr|pl|st|tr|sh|ch")
_VOWELS = alternatives("a|e|i|o|u|a|e|o|ia|ei|ou")
_CODAS = alternatives("|||n|r|s|l|m|t|nd|rk")


class Draw:
    """Random choices, all on one side of the split: what training may see, or what it never sees."""

    def __init__(self, rng: random.Random, *, unseen: bool = False) -> None:
        self.rng = rng
        self._unseen = unseen

    def choose(self, role: str, make: Callable[[], T], key: Callable[[T], str] = str) -> T:
        """Returns the first that `make` makes on this side; the same text may be on different sides in two roles."""
        while is_held_out(role + key(made := make())) != self._unseen:
            pass
        return made


def make_name(rng: random.Random) -> str:
    """Returns a name that nobody has: a model can only copy it."""
    syllables = (rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(_CODAS) for _ in range(rng.randint(2, 3)))
    return "".join(syllables).capitalize()


def draw_city(draw: Draw) -> str:
    rng = draw.rng

    def make() -> str:
        name = rng.choice(CITIES) if rng.random() < 0.65 else make_name(rng)
        return f"{name}, {rng.choice(REGIONS)}" if rng.random() < 0.06 else name

    return draw.choose("city:", make)


def draw_person(draw: Draw) -> str:
    rng = draw.rng

    def make() -> str:
        first = rng.choice(PEOPLE) if rng.random() < 0.7 else make_name(rng)
        last = rng.choice(SURNAMES) if rng.random() < 0.7 else make_name(rng)
        return f"{first} {last}" if rng.random() < 0.4 else first

    return draw.choose("person:", make)


def draw_words(draw: Draw, fewest: int, most: int) -> str:
    rng = draw.rng
    return draw.choose("words:", lambda: " ".join(rng.choices(WORDS, k=rng.randint(fewest, most))))


def draw_code(draw: Draw) -> str:
    rng = draw.rng
    letters = "ABCDEFGHKLMNPRSTXZ"
    return draw.choose("code:", lambda: "".join(rng.choices(letters, k=2)) + f"-{rng.randint(10, 9999)}")
