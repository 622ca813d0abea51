"""Held-out cases by kind: what the model is shown, and the one answer that counts as right."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sample_model import corpus, facts
from sample_model.dialogue import Conversation, Exchange, Message
from sample_model.draw import Draw
from sample_model.offers import build_asking, build_unoffered, draw_topics, list_tools
from sample_model.questions import BUILDERS
from sample_model.rendering import ASSISTANT, render


@dataclass(frozen=True, slots=True)
class Case:
    kind: str
    messages: list[Message]
    answer: str
    """As the model writes it, calls and all."""
    tools: list[dict[str, Any]] | None = None
    thinks: bool = False
    """What is thought is free, and may not be missing; then the answer follows."""


def build_cases(seed: int, count_per_kind: int) -> list[Case]:
    """Returns `count_per_kind` cases, or fewer, of each kind."""
    plain = [build_plain_case(exchange) for exchange in corpus.build_held_out(seed, count_per_kind)]
    sums = [case for case in plain if case.kind == "sum"]
    thinking = [Case("sum with thinking", case.messages, case.answer, thinks=True) for case in sums]
    rng = random.Random(seed)
    offered = [build(rng) for build in OFFERED_BUILDERS for _ in range(count_per_kind)]
    return [*plain, *thinking, *offered]


def build_plain_case(exchange: Exchange) -> Case:
    return Case(exchange.kind, [{"role": "user", "content": exchange.question}], exchange.answer)


def build_call_case(rng: random.Random) -> Case:
    return _build_asking_case(rng, "call", 1)


def build_calls_case(rng: random.Random) -> Case:
    """Returns a case of one question about two things: two calls in one answer."""
    return _build_asking_case(rng, "two calls", 2)


def build_result_case(rng: random.Random) -> Case:
    """Returns a case in which the call was made, and its result is to be said in words."""
    conversation = _build_conversation(rng, 1)
    *messages, last = conversation.list_messages()
    return Case("answer from a result", messages, last["content"], conversation.list_tools())


def build_uncalled_case(rng: random.Random) -> Case:
    """Returns a case of a question that no tool is needed for, though some are offered, or none of them fits."""
    topics = draw_topics(Draw(rng, unseen=True), rng.randint(1, 3))
    tools = [tool.as_definition() for tool in list_tools(rng, list(topics.values()))]
    if rng.random() < 0.2:
        exchange = build_unoffered(Draw(rng, unseen=True), topics)
        return Case("no call", [{"role": "user", "content": exchange.question}], facts.UNKNOWN_ANSWER, tools)
    kinds = ["fact", "list"] if "arithmetic" in topics else ["fact", "list", "sum"]
    while not (exchange := BUILDERS[rng.choice(kinds)][0](rng)).is_held_out:
        pass
    return Case("no call", [{"role": "user", "content": exchange.question}], exchange.answer, tools)


OFFERED_BUILDERS: tuple[Callable[[random.Random], Case], ...] = (
    build_call_case,
    build_calls_case,
    build_result_case,
    build_uncalled_case,
)


def _build_conversation(rng: random.Random, count: int) -> Conversation:
    """Returns one question about `count` things; its tool, its phrasing and its things are all unseen in training."""
    draw = Draw(rng, unseen=True)
    topics = draw_topics(draw, rng.randint(1, 3))
    while len((exchange := build_asking(draw, rng.choice(list(topics.values())), count)).calls) != count:
        topics = draw_topics(draw, rng.randint(1, 3))
    return Conversation(None, (exchange,), list_tools(rng, list(topics.values())))


def _build_asking_case(rng: random.Random, kind: str, count: int) -> Case:
    conversation = _build_conversation(rng, count)
    question, calls, *_ = conversation.list_messages()
    answer = render([calls]).removeprefix(ASSISTANT).removesuffix("<|end|>")
    return Case(kind, [question], answer, conversation.list_tools())
