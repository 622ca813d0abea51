"""The sample model: its corpus is deterministic, its split is clean, and what is shipped is small and answers well."""

from __future__ import annotations

import random
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from sample_model import corpus

MODEL = Path(corpus.__file__).parent / "pagoda-tiny"
LARGEST_BYTES = 10_000_000
ACCURACY_FLOOR = 0.9


@pytest.fixture(scope="module")
def loaded() -> tuple[Any, Any]:
    pytest.importorskip("transformers")
    from sample_model import evaluate

    return evaluate.load(MODEL, "cpu")


def test_the_corpus_is_the_same_for_the_same_seed() -> None:
    first, again, other = (list(corpus.build_training(seed, 200)) for seed in (3, 3, 4))
    assert first == again
    assert first != other


def test_held_out_questions_are_never_in_training() -> None:
    held_out = corpus.build_held_out(7, 100)
    questions = {corpus.normalise_question(exchange.question) for exchange in held_out}
    keys = {(exchange.kind, exchange.key) for exchange in held_out}
    for conversation in corpus.build_training(1, 10_000):
        for exchange in conversation.exchanges:
            assert corpus.normalise_question(exchange.question) not in questions
            assert (exchange.kind, exchange.key) not in keys


def test_a_sum_and_its_mirror_are_held_out_together() -> None:
    rng = random.Random(5)
    keys = {exchange.key for exchange in islice(iter(lambda: corpus.BUILDERS["sum"][0](rng), None), 2_000)}
    additions = [tuple(map(int, key.split("+"))) for key in keys if "+" in key]
    assert additions and all(a <= b for a, b in additions)


def test_the_shipped_model_is_small() -> None:
    assert sum(path.stat().st_size for path in MODEL.iterdir()) <= LARGEST_BYTES


def test_the_chat_template_writes_what_the_model_was_trained_on(loaded: tuple[Any, Any]) -> None:
    conversation = next(c for c in corpus.build_training(1, 500) if c.system and len(c.exchanges) > 1)
    messages = [{"role": "system", "content": conversation.system}]
    for exchange in conversation.exchanges:
        messages += [
            {"role": "user", "content": exchange.question},
            {"role": "assistant", "content": exchange.answer},
        ]
    assert loaded[1].apply_chat_template(messages, tokenize=False) == conversation.render()


def test_the_shipped_model_answers_unseen_questions(loaded: tuple[Any, Any]) -> None:
    from sample_model import evaluate

    result = evaluate.measure(*loaded, corpus.build_held_out(11, 12))
    assert result["all"]["n"] == 60
    assert result["all"]["accuracy"] >= ACCURACY_FLOOR, result
