"""A constraint follows an answer and goes back; masks are those of the rows' own places in their answers."""

import numpy as np
import pytest
from llguidance import LLMatcher

from pagoda_server.dialog.turn import AnswerFormat, JsonFormat, RegexFormat
from pagoda_server.grammar.build import build_grammar
from pagoda_server.grammar.matcher import NOT_ALLOWED, GrammarConstraint, MaskFiller
from pagoda_server.grammar.vocabulary import NoVocabulary, VocabularySource, build_vocabulary
from tests.doubles.grammars import END, NUM_LOGITS, allowed, build_constraint, build_source, build_tiny_vocabulary
from tests.doubles.tiny_models import build_tokenizer


def constrain(answer_format: AnswerFormat) -> GrammarConstraint:
    return build_constraint(build_grammar(answer_format, param="p"))


def encode(text: str) -> list[int]:
    return build_tiny_vocabulary().tokens.tokenize_str(text)


def test_the_end_may_come_where_the_answer_is_whole_and_nothing_else_may_follow_it() -> None:
    constraint = constrain(RegexFormat("[0-9]+"))
    assert END not in allowed(constraint)
    constraint.accept(encode("7")[0])
    assert END in allowed(constraint) and len(allowed(constraint)) > 1
    constraint.accept(END)
    constraint.accept(END)
    assert allowed(constraint) == {END} and constraint.error is None


@pytest.mark.parametrize("back", [1, 2, 3, 4])
def test_tokens_are_taken_back_over_the_end_and_over_a_wrong_one(back: int) -> None:
    for tail in ([END, END], [END, encode("x")[0]], [encode("x")[0], encode("1")[0]]):
        constraint, fresh = constrain(RegexFormat("[0-9]{1,3}")), constrain(RegexFormat("[0-9]{1,3}"))
        tokens = [*encode("1"), *encode("2"), *tail]
        for token in tokens:
            constraint.accept(token)
        constraint.rollback(back)
        for token in tokens[: len(tokens) - back]:
            fresh.accept(token)
        assert allowed(constraint) == allowed(fresh) and constraint.error == fresh.error


def test_a_token_that_is_not_allowed_is_an_error_and_leaves_the_end_alone() -> None:
    constraint = constrain(JsonFormat())
    constraint.accept(encode("x")[0])
    assert constraint.error == NOT_ALLOWED and allowed(constraint) == {END}
    early = constrain(JsonFormat())
    early.accept(END)
    assert early.error == NOT_ALLOWED


def test_rows_that_share_a_grammar_follow_answers_of_their_own() -> None:
    root = constrain(RegexFormat("ab|cd"))
    copies = [GrammarConstraint(root.matcher.deep_copy(), build_tiny_vocabulary()) for _ in range(3)]
    copies[0].accept(encode("a")[0])
    copies[1].accept(encode("c")[0])
    assert [sorted(allowed(copy)) for copy in copies] == [
        encode("b"),
        encode("d"),
        sorted([*encode("a"), *encode("c")]),
    ]


def test_tokens_that_only_the_logits_have_are_never_allowed() -> None:
    everything = build_constraint(build_grammar(RegexFormat(r"(?s:.*)"), param="p"))
    assert max(allowed(everything)) < build_tokenizer().get_vocab_size() < NUM_LOGITS


def test_tokens_beyond_the_logits_are_left_out_of_their_masks() -> None:
    source = VocabularySource(build_source().tokenizer_json, 199, (END,))
    vocabulary = build_vocabulary(source)
    constraint = GrammarConstraint(LLMatcher(vocabulary.tokens, "start: /x/"), vocabulary)
    masks = np.full((3, vocabulary.num_words), -1, dtype=np.int32)
    MaskFiller(vocabulary, 1)([constraint], masks)
    assert vocabulary.num_words == 7 < vocabulary.num_compiled_words
    assert np.flatnonzero(np.unpackbits(masks[0].view(np.uint8), bitorder="little")).tolist() == encode("x")
    assert (masks[1:] == -1).all(), "rows that nobody asked for"


def test_masks_need_not_lie_in_one_piece() -> None:
    wide = np.zeros((2, 2 * build_tiny_vocabulary().num_words), dtype=np.int32)
    masks = wide[:, ::2]
    MaskFiller(build_tiny_vocabulary(), 1)([constrain(RegexFormat("x")), constrain(RegexFormat("y"))], masks)
    bits = np.unpackbits(np.ascontiguousarray(masks).view(np.uint8), axis=1, bitorder="little")
    assert [np.flatnonzero(row).tolist() for row in bits] == [encode("x"), encode("y")]


def test_a_limit_that_is_met_on_the_way_ends_that_answer_alone() -> None:
    failures: list[str] = []
    matcher = constrain(RegexFormat(".*" * 500)).matcher
    costly = GrammarConstraint(matcher, build_tiny_vocabulary(), lambda: failures.append("costly"))
    plain = constrain(RegexFormat("a+"))
    masks = np.zeros((2, build_tiny_vocabulary().num_words), dtype=np.int32)
    for _ in range(50):
        MaskFiller(build_tiny_vocabulary(), 1)([costly, plain], masks)
        if costly.error:
            break
        costly.accept(encode("a")[0])
        plain.accept(encode("a")[0])
    assert costly.error is not None and "too complex" in costly.error
    assert failures == ["costly"], "its grammar is to be compiled anew"
    assert allowed(costly) == {END} and plain.error is None and END in allowed(plain)


@pytest.mark.parametrize(
    ("tokenizer_json", "said"), [("{}", "no vocabulary"), ('{"model": {"vocab": {"a": 0}}}', "kind is not known")]
)
def test_a_tokenizer_of_an_unknown_kind_says_so(tokenizer_json: str, said: str) -> None:
    with pytest.raises(NoVocabulary, match=said):
        build_vocabulary(VocabularySource(tokenizer_json, 10, (0,)))
