"""Logits of a request's own: the reference's numbers, whatever it asks for, and the model's stay as they are."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pagoda_server.engine import runner
from pagoda_server.engine.batch import Chunk
from pagoda_server.engine.request import Request
from pagoda_server.kernels import adjust as kernels
from pagoda_server.kernels.adjust import Members, adjust, settle
from pagoda_server.runtime import history
from pagoda_server.runtime.gpu.adjustments import apply_opening, build_adjust_table, pack_bits, plan_opening
from pagoda_server.runtime.gpu.members import count_asks
from pagoda_server.runtime.reference.sampler import apply_penalties, build_sampling_row, forbid_tokens
from pagoda_server.wire import Sampling

VOCAB = 5003
PENALTIES: dict[str, Any] = {"presence_penalty": 0.5, "frequency_penalty": 0.25, "repetition_penalty": 1.3}
MASK = pack_bits(range(0, VOCAB, 3), VOCAB)
ASKED: list[dict[str, Any]] = [
    PENALTIES,
    {"logit_bias": tuple((token, token / 50 - 9) for token in range(0, 900, 2))},
    {"allowed_token_ids": (1, 6, 7, 31, 32, VOCAB - 1)},
    {"min_tokens": 9},
    {"min_tokens": 3},
    {"bad_words": ((8,), (4, 9), (7, 7, 10), (5, 7, 11), (6, 4, 7, 7, 12), (3, 4, 7, 7, 13))},
    {**PENALTIES, "logit_bias": ((7, 1.5), (12, -100.0)), "allowed_token_ids": tuple(range(20)), "bad_words": ((7,),)},
]
"""Beside a prompt of 3, 4, 5 and an answer of 4, 7, 7."""


def build_request(row: int, *, is_constrained: bool = False, **sampling: Any) -> Request:
    return Request(
        request_id="r",
        token_ids=[3, 4, 5, 4, 7, 7],
        num_prompt_tokens=3,
        sampling=Sampling(max_tokens=9, **sampling),
        seed=0,
        stop_token_ids=frozenset({5, 2500, VOCAB + 7}),
        row=row,
        is_constrained=is_constrained,
    )


def chunk_of(request: Request) -> Chunk:
    return Chunk(request, len(request.token_ids) - 1, 1, is_sampled=True)


def place_members(entries: list[tuple[int, Request]], device: torch.device) -> Members:
    """Entries: places in the batch, with who is there."""

    def place(values: list[int]) -> Tensor:
        return torch.tensor(values, dtype=torch.int32, device=device)

    chunks = [chunk_of(request) for _, request in entries]
    return Members(
        places=place([where for where, _ in entries]),
        rows=place([request.row for _, request in entries]),
        positions=place([chunk.end for chunk in chunks]),
        asks=place([count_asks(chunk) for chunk in chunks]),
    )


def open_rows(requests: list[Request], device: torch.device, num_rows: int = 4) -> kernels.AdjustTable:
    pool = torch.zeros((num_rows, 50), dtype=torch.int32, device=device)
    table = build_adjust_table(num_rows, VOCAB, 3, pool)
    table.counts.fill_(99)  # of whoever had the row before
    opening = plan_opening(requests, VOCAB).arrays()
    apply_opening(table, [torch.from_numpy(array).to(device) for array in opening])
    return table


@pytest.mark.parametrize("asked", ASKED, ids=lambda asked: "-".join(asked))
def test_a_members_logits_are_the_references(asked: dict[str, Any], device: torch.device) -> None:
    request, masked = build_request(2, **asked), build_request(1, is_constrained=True, **asked)
    table = open_rows([request, masked], device)
    logits = (4 * torch.randn((3, VOCAB), device=device)).to(torch.bfloat16)
    kept, out = logits.clone(), torch.full((3, VOCAB), 77.0, device=device)
    members = place_members([(2, request), (0, masked)], device)
    padded = Members(*(torch.cat([part, part.new_full((1,), -1)]) for part in astuple(members)))
    masks = torch.from_numpy(np.stack([np.zeros_like(MASK), MASK, MASK])).to(device)
    adjust(logits, table, padded, masks, out)
    for found, where, one, mask in ((out[0], 2, request, None), (out[1], 0, masked, MASK)):
        row = build_sampling_row(one)
        torch.testing.assert_close(found, forbid_tokens(apply_penalties(logits[where].float(), row), row, mask))
    assert torch.equal(logits, kept) and bool((out[2] == 77.0).all()), "the model's and those of nobody stay"


def astuple(members: Members) -> tuple[Tensor, ...]:
    return members.places, members.rows, members.positions, members.asks


def test_tokens_that_the_device_chose_itself_begin_bad_words_too(device: torch.device) -> None:
    request = build_request(0, bad_words=((7, 7, 21, 30), (21, 31), (7, 21, 21, 32)))
    table = open_rows([request], device)
    table.token_pool[0, 6] = 21
    request.token_ids.append(21)
    out = torch.empty((1, VOCAB), device=device)
    masks = torch.zeros((1, MASK.size), dtype=torch.int32, device=device)
    adjust(torch.zeros((1, VOCAB), device=device), table, place_members([(0, request)], device), masks, out)
    assert (out[0] == -torch.inf).nonzero().flatten().tolist() == [30, 31]


def test_what_is_chosen_is_put_in_its_place_and_counted(device: torch.device) -> None:
    requests = [build_request(0, **PENALTIES), build_request(1, allowed_token_ids=(1,)), build_request(2)]
    table = open_rows(requests[:2], device)
    members = place_members(list(zip((3, 1, 0), requests, strict=True)), device)
    tokens = torch.tensor([-1, 50, 60, 70], dtype=torch.int32, device=device)
    chosen = torch.tensor([7, -1, -1], dtype=torch.int32, device=device)
    settle(chosen, table, members, tokens)
    assert tokens.tolist() == [runner.NO_BEST, runner.NOTHING_ALLOWED, 60, 7]
    assert table.token_pool[:3, 6].tolist() == [7, 0, 0]
    assert table.counts[0, [3, 4, 5, 7]].tolist() == [1, 3, 1, 6], "twice as often as it came, and whether asked with"
    assert table.counts[1].eq(99).all(), "nobody counts there"


def test_a_count_stays_at_its_maximum(device: torch.device) -> None:
    request = build_request(0, **PENALTIES)
    table = open_rows([request], device)
    table.counts[0, :4] = torch.tensor([32767, 32766, 32765, 32764], dtype=torch.int16)
    for token in range(4):
        chosen = torch.tensor([token], dtype=torch.int32, device=device)
        settle(chosen, table, place_members([(0, request)], device), chosen.clone())
    assert table.counts[0, :4].tolist() == [32767, 32766, 32767, 32766]


def test_kernels_and_engine_agree_on_numbers() -> None:
    assert (kernels.NO_BEST, kernels.NOTHING_ALLOWED) == (runner.NO_BEST, runner.NOTHING_ALLOWED)
    assert kernels.MAX_COUNTED == history.MAX_COUNTED
