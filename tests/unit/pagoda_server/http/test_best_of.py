"""Which of the answers to a prompt are given."""

from typing import cast

import pytest

from pagoda_server.http.best_of import choose_best
from pagoda_server.http.choice import Choice
from pagoda_server.text.tokenizer import Tokenizer


class Letters:
    def decode(self, ids: list[int]) -> str:
        return "".join(map(chr, ids))


def build(index: int, logprob_sum: float, tokens: int) -> Choice:
    choice = Choice(index=index, tokenizer=cast(Tokenizer, Letters()), stops=(), min_tokens=0)
    choice.logprob_sum, choice.token_count = logprob_sum, tokens
    return choice


CHOICES = [build(0, -6, 2), build(1, -4, 4), build(2, -2, 1), build(3, -1, 1), build(4, -9, 9), build(5, 0, 0)]


@pytest.mark.parametrize(
    ("per_prompt", "given", "best"),
    [(3, 3, [0, 1, 2, 3, 4, 5]), (3, 1, [1, 5]), (3, 2, [1, 2, 5, 3]), (6, 2, [5, 1])],
)
def test_the_best_of_each_prompt_by_mean_logprob_and_of_equal_ones_the_first(
    per_prompt: int, given: int, best: list[int]
) -> None:
    assert [one.index for one in choose_best(CHOICES, per_prompt=per_prompt, given=given)] == best
