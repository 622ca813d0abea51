"""The corpus of the sample model: conversations, deterministic from a seed; what is held out is in none of them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

from sample_model import facts, questions
from sample_model.dialogue import ANSWERABLE_KINDS, Conversation, Exchange
from sample_model.draw import Draw
from sample_model.offers import build_offered_conversation, build_unoffered
from sample_model.thinking import think

PART = 2_000
"""Conversations that are built from one seed: parts can be built side by side."""
SHARES = {"plain": 68, "offered": 24, "thinking": 8}


def build_training(seed: int, count: int) -> Iterator[Conversation]:
    """Yields `count` conversations: plain ones, some with tools, some with thinking."""
    for part in range(-(-count // PART)):
        yield from build_part(seed, part, min(PART, count - part * PART))


def build_part(seed: int, part: int, count: int = PART) -> Iterator[Conversation]:
    rng = random.Random(f"{seed}/{part}")
    builders = {"plain": _build_plain, "offered": build_offered_conversation, "thinking": _build_thinking}
    for kind in rng.choices(list(SHARES), list(SHARES.values()), k=count):
        yield builders[kind](rng)


def build_held_out(seed: int, count_per_kind: int) -> list[Exchange]:
    """Returns distinct held-out questions, `count_per_kind` or fewer of each answerable kind."""
    rng = random.Random(seed)
    chosen: dict[str, Exchange] = {}
    for kind in ANSWERABLE_KINDS:
        found: dict[str, Exchange] = {}
        for _ in range(200 * count_per_kind):
            exchange = questions.BUILDERS[kind][0](rng)
            if exchange.is_held_out:
                found.setdefault(exchange.question, exchange)
            if len(found) == count_per_kind:
                break
        chosen |= found
    return list(chosen.values())


def _build_plain(rng: random.Random) -> Conversation:
    """Returns one to six exchanges, with or without a system prompt."""
    turns = rng.choices((1, 2, 3, 4, 6), (70, 15, 8, 4, 3))[0]
    system = rng.choice(facts.SYSTEM_PROMPTS) if rng.random() < 0.25 else None
    return Conversation(system, tuple(_build_plain_exchange(rng) for _ in range(turns)))


def _build_plain_exchange(rng: random.Random) -> Exchange:
    if rng.random() < 0.02:
        return build_unoffered(Draw(rng), {})
    return questions.build_training_exchange(rng)


def _build_thinking(rng: random.Random) -> Conversation:
    """Returns a conversation, plain or with tools, that thinks before its last message: an answer or a call."""
    conversation = _build_plain(rng) if rng.random() < 0.6 else build_offered_conversation(rng)
    last = conversation.exchanges[-1]
    of_call = bool(last.calls) and rng.random() < 0.6
    return replace(conversation, thought=think(last, of_call=of_call), ends_with_call=of_call)
