"""A grammar of short stories: an animal, a thing or a place, a problem, a helper and an end."""

from __future__ import annotations

import random

HEROES = [
    "fox",
    "owl",
    "bear",
    "rabbit",
    "horse",
    "dog",
    "cat",
    "mouse",
    "goat",
    "duck",
    "hen",
    "lion",
    "frog",
    "wolf",
    "robot",
    "dragon",
    "turtle",
    "penguin",
    "squirrel",
    "child",
    "king",
    "queen",
    "pirate",
    "farmer",
    "sailor",
    "whale",
    "bird",
    "pod",
]
THINGS = [
    "bridge",
    "river",
    "forest",
    "lamp",
    "boat",
    "castle",
    "mountain",
    "garden",
    "key",
    "star",
    "bell",
    "cake",
    "kite",
    "lake",
    "cave",
    "pagoda",
    "train",
    "drum",
    "clock",
    "door",
    "tree",
    "moon",
    "storm",
    "village",
    "treasure",
    "lantern",
    "house",
    "sea",
]
ADJECTIVES = [
    "small",
    "brave",
    "young",
    "quiet",
    "clever",
    "old",
    "kind",
    "curious",
    "hungry",
    "tired",
    "cheerful",
    "shy",
]
PLACES = [
    "in a green valley",
    "at the edge of a wood",
    "near the sea",
    "in a small town",
    "on a windy hill",
    "beside a mill",
]
PHRASINGS = [
    "Tell me a {size} story about {subject}",
    "Write a {size} story about {subject}",
    "Can you tell me a {size} story about {subject}?",
    "I would like a {size} story about {subject}",
    "Please write a {size} story about {subject}",
    "Make up a {size} story about {subject}",
    "Tell a {size} story about {subject}",
    "Give me a {size} story with {subject}",
]
OPEN_PHRASINGS = [
    "Tell me a story",
    "Tell me a short story",
    "Write a short story",
    "Tell me a long story",
    "Write a story",
]
LIKED = [
    "loved to sing",
    "liked to walk alone",
    "dreamed of far places",
    "was afraid of the dark",
    "asked many questions",
]
TRIED = [
    "pushed and pulled",
    "looked on every side",
    "thought for a long time",
    "called for help",
    "sat down and waited",
]
FOUND = [
    "It was older than anyone could remember.",
    "It shone in the morning light.",
    "Nobody had gone there for years.",
]
FEELING = [
    "The wind was cold, and the sky was grey.",
    "The sun was warm, and the birds sang.",
    "It was a long way home.",
]
TROUBLE = [
    "Something was wrong with it",
    "It was broken",
    "The way was shut",
    "It was covered with snow",
    "A great stone lay there",
]
MIDDLE = [
    "They worked together until the evening.",
    "They shared some bread and told each other jokes.",
    "They tried once, and they tried twice, and then it worked.",
    "They found a rope and tied a strong knot.",
    "They listened, and they heard a soft song.",
]
LESSON = [
    "From that day on they were friends.",
    "Good friends make hard work easy.",
    "And they all slept well that night.",
    "After that, nobody in the valley was alone.",
    "It is good to ask for help.",
]


def article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def build_story(rng: random.Random, hero: str, thing: str, *, long: bool) -> str:
    """Returns six to eight sentences, or twelve for a long story; both the hero and the thing appear."""
    helper = rng.choice([name for name in HEROES if name != hero])
    adjective = rng.choice(ADJECTIVES)
    opening = f"Once upon a time, {article(adjective)} {hero} lived {rng.choice(PLACES)}."
    optional = [
        (1, f"The {hero} {rng.choice(LIKED)}."),
        (3, rng.choice(FOUND)),
        (4, rng.choice(FEELING)),
        (6, f"The {hero} {rng.choice(TRIED)}, but nothing helped."),
        (8, f'"Let me help you," said the {helper}.'),
        (9, rng.choice(MIDDLE)),
    ]
    fixed = [
        (0, opening),
        (2, f"One day the {hero} came to {article(thing)}."),
        (5, f"{rng.choice(TROUBLE)}, and the {hero} did not know what to do."),
        (7, f"Then {article(helper)} came along the path."),
        (10, f"At last the {thing} was safe, and the {hero} laughed with joy."),
        (11, rng.choice(LESSON)),
    ]
    kept = optional if long else rng.sample(optional, rng.randint(0, 2))
    return " ".join(sentence for _, sentence in sorted(fixed + kept))


def build_request(rng: random.Random) -> tuple[str, str]:
    """Returns a request for a story, and the story."""
    hero, thing = rng.choice(HEROES), rng.choice(THINGS)
    if rng.random() < 0.1:
        question = rng.choice(OPEN_PHRASINGS)
        return question, build_story(rng, hero, thing, long="long" in question)
    size = rng.choice(("short", "short", "little", "long"))
    form = rng.random()
    subject = (
        article(hero) if form < 0.4 else article(thing) if form < 0.55 else f"{article(hero)} and {article(thing)}"
    )
    question = rng.choice(PHRASINGS).format(size=size, subject=subject)
    if rng.random() < 0.15:
        question = question.replace("a short story", "a story").replace("a little story", "a story")
    return question, build_story(rng, hero, thing, long=size == "long")
