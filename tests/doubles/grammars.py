"""A vocabulary of the tiny tokenizer, and answers of a model that chooses any allowed token with equal chance."""

import random
import threading
from functools import cache

import numpy as np
from llguidance import LLMatcher

from pagoda_server.engine.constraint import Constraint, FailedGrammar
from pagoda_server.grammar.attempt import Unusable, convert
from pagoda_server.grammar.compiler import Compiler
from pagoda_server.grammar.limits import LIMITS, describe_failure
from pagoda_server.grammar.matcher import GrammarConstraint, MaskFiller
from pagoda_server.grammar.vocabulary import Vocabulary, VocabularySource, build_vocabulary
from pagoda_server.wire import Grammar
from tests.doubles.tiny_models import build_tokenizer

END = 0
NUM_LOGITS = 330
"""More than the tokenizer's tokens, as models have them."""
END_WEIGHT, CLOSING_WEIGHT = 60, 12
"""A random answer ends now and then, and closes what it opened."""


@cache
def build_source() -> VocabularySource:
    return VocabularySource(build_tokenizer().to_str(), NUM_LOGITS, (END,))


@cache
def build_tiny_vocabulary() -> Vocabulary:
    return build_vocabulary(build_source())


@cache
def build_filler() -> MaskFiller:
    return MaskFiller(build_tiny_vocabulary(), 1)


def build_constraint(grammar: Grammar) -> GrammarConstraint:
    """Compiles here, untried. Raises `Unusable`."""
    vocabulary = build_tiny_vocabulary()
    matcher = LLMatcher(vocabulary.tokens, convert(grammar), log_level=0, limits=LIMITS)
    if matcher.is_error():
        raise Unusable(describe_failure(matcher.get_error()))
    return GrammarConstraint(matcher, vocabulary)


def allowed(constraint: Constraint, num_words: int | None = None) -> set[int]:
    """Returns the tokens that may come next."""
    masks = np.zeros((1, num_words or build_tiny_vocabulary().num_words), dtype=np.int32)
    build_filler()([constraint], masks)
    return set(np.flatnonzero(np.unpackbits(masks.view(np.uint8), bitorder="little")).tolist())


def answer(constraint: Constraint, seed: int = 0, max_tokens: int = 4000, *, may_fail: bool = False) -> str | None:
    """Returns a random answer, None when it has no end within `max_tokens`, or fails where that is no fault."""
    choose, tokens = random.Random(seed), build_tiny_vocabulary().tokens
    weights = [_weigh(tokens.decode_str([token])) for token in range(NUM_LOGITS)]
    weights[END] = END_WEIGHT
    token_ids: list[int] = []
    for _ in range(max_tokens):
        options = sorted(allowed(constraint))
        token = choose.choices(options, [weights[one] for one in options])[0]
        constraint.accept(token)
        if constraint.error is not None:
            assert may_fail, constraint.error
            return None
        if token == END:
            return tokens.decode_str(token_ids)
        token_ids.append(token)
    return None


def _weigh(text: str) -> int:
    return CLOSING_WEIGHT if text in ('"', "}", "]") else 1


class Results:
    """What a compiler said, from whatever thread."""

    def __init__(self) -> None:
        self.all: list[Constraint | FailedGrammar] = []
        self._come = threading.Semaphore(0)

    def take(self, result: Constraint | FailedGrammar) -> None:
        self.all.append(result)
        self._come.release()

    def wait(self, count: int) -> list[Constraint | FailedGrammar]:
        for _ in range(count):
            assert self._come.acquire(timeout=60), "no answer"
        return self.all


def compile_now(compiler: Compiler, grammar: Grammar) -> Constraint | FailedGrammar:
    results = Results()
    compiler.compile(grammar, results.take)
    return results.wait(1)[0]
