"""What requests ask of their logits, packed by the host: once, when a row is theirs."""

from typing import Any

import numpy as np
import torch

from pagoda_server.engine.request import Request
from pagoda_server.kernels.adjust import HEADER
from pagoda_server.runtime.gpu.adjustments import (
    build_adjust_table,
    count_tokens,
    pack_bits,
    pack_entry,
    plan_opening,
)
from pagoda_server.runtime.history import NEVER, find_own_logits_end
from pagoda_server.wire import MAX_BAD_WORD_TOKENS, MAX_BAD_WORDS, MAX_BIASES, MAX_STOP_TOKENS, Sampling

VOCAB = 100


def build_request(*, stops: tuple[int, ...] = (), is_constrained: bool = False, **sampling: Any) -> Request:
    """A prompt of 5, 5, 6 and an answer of 5, 7, 7 so far."""
    return Request(
        request_id="r",
        token_ids=[5, 5, 6, 5, 7, 7],
        num_prompt_tokens=3,
        sampling=Sampling(max_tokens=9, **sampling),
        seed=0,
        stop_token_ids=frozenset(stops),
        row=2,
        is_constrained=is_constrained,
    )


def test_a_plain_request_has_no_logits_of_its_own() -> None:
    assert find_own_logits_end(build_request(temperature=0.5, top_p=0.9, min_p=0.1, top_k=3, stops=(7,))) == 0
    assert find_own_logits_end(build_request(min_tokens=3)) == 0
    assert find_own_logits_end(build_request(min_tokens=3, stops=(7,))) == 6
    assert find_own_logits_end(build_request(is_constrained=True)) == NEVER
    for asked in ({"logit_bias": ((1, 1.0),)}, {"bad_words": ((1,),)}, {"allowed_token_ids": (1,)}):
        assert find_own_logits_end(build_request(**asked)) == NEVER


def test_counts_know_the_answer_and_whether_the_prompt_has_a_token() -> None:
    tokens, counts = count_tokens(build_request(presence_penalty=1.0), VOCAB)
    assert dict(zip(tokens.tolist(), counts.tolist(), strict=True)) == {5: 3, 6: 1, 7: 4}


def test_only_the_end_of_an_answer_that_bad_words_need_is_said_again() -> None:
    opening = plan_opening([build_request(bad_words=((7, 8), (5, 7, 9)))], VOCAB)
    assert (opening.said_positions.tolist(), opening.said_tokens.tolist()) == ([4, 5], [7, 7])
    assert set(opening.said_rows.tolist()) == {2}
    assert not plan_opening([build_request(bad_words=((7,),))], VOCAB).said_rows.size


def test_a_prompt_never_begins_a_bad_word() -> None:
    opening = plan_opening([build_request(bad_words=(tuple(range(20)),))], VOCAB)
    assert opening.said_positions.tolist() == [3, 4, 5]


def test_bits_lie_where_kernels_look() -> None:
    words = pack_bits([0, 31, 32, 99], VOCAB).view(np.uint32)
    assert words.tolist() == [1 | 1 << 31, 1, 0, 1 << 3]


def test_the_longest_lists_fit_a_row() -> None:
    """Everything that a request may have at once."""
    stops = tuple(range(MAX_STOP_TOKENS))
    before = MAX_BAD_WORD_TOKENS // MAX_BAD_WORDS - 1
    request = build_request(
        stops=(*stops, 1030, 1031),
        min_tokens=9,
        logit_bias=tuple((token, 1.0) for token in range(MAX_BIASES)),
        bad_words=tuple((*[1] * before, word) for word in range(MAX_BAD_WORDS)),
        allowed_token_ids=(5,),
    )
    vocab_size = 2000
    table = build_adjust_table(3, vocab_size, num_eos=2, token_pool=torch.zeros((3, 8), dtype=torch.int32))
    entry = pack_entry(request, vocab_size)
    assert HEADER < entry.size <= table.entries.shape[1]
