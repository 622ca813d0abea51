"""What a row's history asks of its logits, listed by the host."""

from typing import Any

import numpy as np

from pagoda_server.engine.batch import Chunk
from pagoda_server.engine.request import Request
from pagoda_server.runtime.gpu.adjustments import build_entries, needs_history
from pagoda_server.wire import Sampling


def chunk(*, stops: tuple[int, ...] = (), **sampling: Any) -> Chunk:
    """A prompt of 5, 5, 6 and an answer of 5, 7, 7 so far."""
    request = Request(
        request_id="r",
        token_ids=[5, 5, 6, 5, 7, 7],
        num_prompt_tokens=3,
        sampling=Sampling(max_tokens=9, **sampling),
        seed=0,
        stop_token_ids=frozenset(stops),
    )
    return Chunk(request, 5, 1, is_sampled=True)


def test_a_plain_row_needs_no_history() -> None:
    assert not needs_history(chunk(temperature=0.5, top_p=0.9, min_p=0.1, top_k=3, stops=(7,)))


def test_penalties_count_the_answer_and_know_the_prompt() -> None:
    entries = build_entries(chunk(presence_penalty=1.0))
    assert dict(zip(entries.tokens.tolist(), entries.counts.tolist(), strict=True)) == {5: 1, 6: 0, 7: 2}
    assert not entries.biases.any()


def test_stop_tokens_are_held_back_until_the_answer_is_long_enough() -> None:
    assert needs_history(chunk(min_tokens=4, stops=(7, 9))) and not needs_history(chunk(min_tokens=3, stops=(7, 9)))
    entries = build_entries(chunk(min_tokens=4, stops=(7, 9)))
    assert sorted(zip(entries.tokens.tolist(), entries.counts.tolist(), strict=True)) == [(7, -1), (9, -1)]
    assert np.isneginf(entries.biases).all()


def test_a_held_token_keeps_its_count() -> None:
    entries = build_entries(chunk(min_tokens=4, stops=(7,), frequency_penalty=0.5))
    assert dict(zip(entries.tokens.tolist(), entries.counts.tolist(), strict=True)) == {5: 1, 6: 0, 7: 2}
    assert np.isneginf(entries.biases[entries.tokens == 7]).all() and entries.biases[entries.tokens == 5] == 0
