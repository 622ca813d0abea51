"""Conversations in which tools are offered: questions need one or more of them, or none, or one that is not there."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from sample_model import facts
from sample_model.arithmetic import build_arithmetic
from sample_model.dialogue import Conversation, Exchange, Tool
from sample_model.draw import Draw, alternatives
from sample_model.lookups import build_lookup
from sample_model.questions import build_training_exchange
from sample_model.results import make_error
from sample_model.topics import (
    Subject,
    Topic,
    build_dice,
    build_person,
    build_search,
    build_time,
    build_timer,
    build_weather,
)

BUILDERS: dict[str, tuple[Callable[[Draw], Topic], int]] = {
    "weather": (build_weather, 24),
    "arithmetic": (build_arithmetic, 20),
    "lookup": (build_lookup, 22),
    "time": (build_time, 12),
    "search": (build_search, 7),
    "person": (build_person, 6),
    "timer": (build_timer, 4),
    "dice": (build_dice, 5),
}
PREFIXES = ("",) * 14 + tuple(
    alternatives(
        "Please tell me: |Can you tell me: |Question: |Hello! |Hi, |Hey, |I wonder: |Tell me, |Quick question: |Now: |"
        "Please: |One more thing: |Next: "
    )
)
JOINTS = (" And {}", " Also, {}", " And then: {}")
CALCULATING = ("sum", "product")


def draw_topics(draw: Draw, count: int) -> dict[str, Topic]:
    """Returns topics by name, none twice but lookups, which differ in what they look up."""
    weights = {name: weight for name, (_, weight) in BUILDERS.items()}
    topics: dict[str, Topic] = {}
    while len(topics) < count:
        name = draw.rng.choices(list(weights), list(weights.values()))[0]
        if name != "lookup":
            del weights[name]
        topic = BUILDERS[name][0](draw)
        names = {tool.name for one in topics.values() for tool in one.tools}
        if not names & {tool.name for tool in topic.tools}:
            topics[name if name not in topics else f"{name} {len(topics)}"] = topic
    return topics


def list_tools(rng: random.Random, topics: list[Topic]) -> tuple[Tool, ...]:
    tools = [tool for topic in topics for tool in topic.tools]
    rng.shuffle(tools)
    return tuple(tools)


def build_asking(draw: Draw, topic: Topic, count: int = 1) -> Exchange:
    """Returns one question that takes `count` calls of the topic's tools, with their results."""
    rng = draw.rng
    subjects = [topic.draw_subject(draw)]
    if subjects[0].text:
        subjects += [topic.draw_subject(draw) for _ in range(count - 1)]
    if len(subjects) == 1 and rng.random() < 0.04:
        subjects = [_fail(rng, subjects[0])]
    phrasing = draw.choose("phrasing:", lambda: rng.choice(PREFIXES) + "|" + rng.choice(topic.phrasings))
    prefix, core = phrasing.split("|")
    if len(subjects) > 1 and rng.random() < 0.25:
        others = [rng.choice(topic.phrasings).format(one.text) for one in subjects[1:]]
        question = " ".join([core.format(subjects[0].text) + _end(core), *(other + _end(other) for other in others)])
    else:
        question = core.format(_enumerate(rng, core, [one.text for one in subjects]))
    if len(subjects) == 1 and subjects[0].question:
        question = subjects[0].question
    return _exchange(_soften(rng, prefix, question), subjects)


def build_follow_up(draw: Draw, topic: Topic) -> Exchange:
    """Returns a short question that only the one before it explains."""
    subject = topic.draw_subject(draw)
    return _exchange(draw.rng.choice(topic.follow_ups).format(subject.text), [subject])


def build_joint(draw: Draw, first: Topic, second: Topic) -> Exchange:
    """Returns two questions in one, each for a tool of its own."""
    rng = draw.rng
    asked = [build_asking(draw, topic) for topic in (first, second)]
    joint = rng.choice(JOINTS).format(_lower(asked[1].question))
    question = asked[0].question + _end(asked[0].question) + joint
    calls = tuple(call for one in asked for call in one.calls)
    return Exchange("call", question, " ".join(one.answer for one in asked), question, calls)


def build_unoffered(draw: Draw, offered: dict[str, Topic]) -> Exchange:
    """Returns a question that would take a tool which is not offered."""
    missing = [name for name in ("weather", "time", "search", "timer", "dice") if name not in offered]
    asked = build_asking(draw, BUILDERS[draw.rng.choice(missing)][0](draw))
    return Exchange("chat", asked.question, facts.UNKNOWN_ANSWER, asked.question)


def build_offered_conversation(rng: random.Random) -> Conversation:
    """Returns a conversation of one to four exchanges, tools offered."""
    draw = Draw(rng)
    topics = draw_topics(draw, rng.choices((1, 2, 3, 4), (35, 35, 20, 10))[0])
    exchanges: list[Exchange] = []
    previous = ""
    for _ in range(rng.choices((1, 2, 3, 4), (50, 30, 14, 6))[0]):
        exchange, previous = _build_exchange(draw, topics, previous)
        exchanges.append(exchange)
    system = rng.choice(facts.SYSTEM_PROMPTS) if rng.random() < 0.3 else None
    return Conversation(system, tuple(exchanges), list_tools(rng, list(topics.values())))


def _build_exchange(draw: Draw, topics: dict[str, Topic], previous: str) -> tuple[Exchange, str]:
    """Returns the next exchange and the name of its topic, empty where there is none."""
    rng = draw.rng
    if previous and topics[previous].follow_ups and rng.random() < 0.3:
        return build_follow_up(draw, topics[previous]), previous
    form = rng.random()
    if form < 0.26:
        without = CALCULATING if "arithmetic" in topics else ()
        return build_training_exchange(rng, without=without), ""
    if form < 0.31:
        return build_unoffered(draw, topics), ""
    names = list(topics)
    if form < 0.37 and len(names) > 1:
        first, second = rng.sample(names, 2)
        return build_joint(draw, topics[first], topics[second]), ""
    name = rng.choice(names)
    return build_asking(draw, topics[name], rng.choices((1, 2, 3), (75, 20, 5))[0]), name


def _exchange(question: str, subjects: list[Subject]) -> Exchange:
    answer = " ".join(one.answer for one in subjects)
    return Exchange("call", question, answer, question, tuple(one.call for one in subjects))


def _fail(rng: random.Random, subject: Subject) -> Subject:
    result, answer = make_error(rng)
    return replace(subject, call=replace(subject.call, result=result), answer=answer)


def _enumerate(rng: random.Random, core: str, texts: list[str]) -> str:
    """Returns `A, B and C`, at times `A, B and in C` where the question says `in`."""
    *most, last = texts
    if not most:
        return last
    before = core.partition("{}")[0].split()
    again = f"{before[-1]} " if before and before[-1] in ("in", "of", "for") and rng.random() < 0.4 else ""
    return f"{', '.join(most)} and {again}{last}"


def _end(question: str) -> str:
    return "." if question[-1].isalnum() else ""


def _lower(question: str) -> str:
    return question[0].lower() + question[1:]


def _soften(rng: random.Random, prefix: str, question: str) -> str:
    """Returns the question behind its prefix, at times without its mark or begun in small letters."""
    if prefix or rng.random() < 0.08:
        question = prefix + _lower(question)
    if rng.random() < 0.12:
        return question.rstrip("?")
    return question + _end(question) if rng.random() < 0.3 else question
