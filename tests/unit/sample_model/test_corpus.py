"""The corpus is deterministic, and what is held out is in none of its conversations."""

import random
import re
from itertools import islice

from sample_model import cases, corpus, questions
from sample_model.dialogue import Conversation
from sample_model.rendering import render_conversation
from sample_model.thinking import think


def test_the_corpus_is_the_same_for_the_same_seed() -> None:
    first, again, other = (list(corpus.build_training(seed, 200)) for seed in (3, 3, 4))
    assert first == again
    assert first != other


def test_parts_that_are_built_side_by_side_are_the_corpus() -> None:
    whole = list(corpus.build_training(3, corpus.PART + 10))
    assert whole == [*corpus.build_part(3, 0), *corpus.build_part(3, 1, 10)]


def test_held_out_questions_are_never_in_training() -> None:
    held_out = corpus.build_held_out(7, 100)
    asked = {questions.normalise_question(exchange.question) for exchange in held_out}
    keys = {(exchange.kind, exchange.key) for exchange in held_out}
    for conversation in corpus.build_training(1, 10_000):
        for exchange in conversation.exchanges:
            assert questions.normalise_question(exchange.question) not in asked
            assert (exchange.kind, exchange.key) not in keys


def test_no_tool_and_no_thought_gives_a_held_out_sum_away() -> None:
    held_out = {exchange.answer for exchange in corpus.build_held_out(7, 300) if exchange.kind == "sum"}
    for conversation in corpus.build_training(1, 10_000):
        said = set(re.findall(r"\d+ [+-] \d+ = \d+\.", render_conversation(conversation).text))
        assert not said & held_out


def test_no_tool_of_the_cases_is_ever_in_training() -> None:
    asked = [case.tools for case in cases.build_cases(7, 60) if case.tools]
    definitions = [definition["function"] for tools in asked for definition in tools]
    unseen = {f"{one['name']}({', '.join(one['parameters']['properties'])})" for one in definitions}
    trained = {tool.signature for one in corpus.build_training(1, 20_000) for tool in one.tools}
    assert len(unseen) > 100 and len(trained) > 1_000
    assert not unseen & trained


def test_a_sum_and_its_mirror_are_held_out_together() -> None:
    rng = random.Random(5)
    keys = {exchange.key for exchange in islice(iter(lambda: questions.BUILDERS["sum"][0](rng), None), 2_000)}
    additions = [tuple(map(int, key.split("+"))) for key in keys if "+" in key]
    assert additions and all(a <= b for a, b in additions)


def list_offered(count: int) -> list[Conversation]:
    return [one for one in corpus.build_training(2, count) if one.tools]


def test_a_call_names_an_offered_tool_and_fills_what_it_requires() -> None:
    called = 0
    for conversation in list_offered(4_000):
        tools = {tool.name: tool for tool in conversation.tools}
        assert len(tools) == len(conversation.tools), "two tools of one name"
        for call in (call for exchange in conversation.exchanges for call in exchange.calls):
            parameters = {one.name: one for one in tools[call.name].parameters}
            assert call.arguments.keys() <= parameters.keys()
            assert all(name in call.arguments for name, one in parameters.items() if one.is_required)
            called += 1
    assert called > 500


def test_a_thought_computes_the_sum_that_the_answer_states() -> None:
    rng = random.Random(5)
    for exchange in islice(iter(lambda: questions.BUILDERS["sum"][0](rng), None), 2_000):
        thought = think(exchange, of_call=False)
        ones, *tens = map(int, re.findall(r"(?:make|is) (\d+)\.", thought))
        total = int(exchange.answer.rstrip(".").split()[-1])
        assert ones % 10 + 10 * (tens[0] if tens else ones // 10) == total, (exchange, thought)
