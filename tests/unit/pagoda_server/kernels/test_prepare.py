"""A decode step from persistent state and back: what is active is gathered and appended, the rest is left alone."""

import pytest
import torch

from pagoda_server.kernels.prepare import append_tokens, prepare_decode, set_lengths

PAGE_SIZE = 16
FULL = 40


def build_state(device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    token_pool = torch.arange(5 * FULL, dtype=torch.int32, device=device).view(5, FULL)
    lengths = torch.tensor([1, 17, 0, FULL, 16], dtype=torch.int32, device=device)
    page_table = torch.tensor([[9, 8, 7], [3, 5, 0], [0, 0, 0], [1, 2, 4], [6, 0, 0]], dtype=torch.int32, device=device)
    return token_pool, lengths, page_table


@pytest.mark.parametrize("at", [0, 2, 4])
def test_inputs_are_the_last_token_its_position_and_its_slot(at: int, device: torch.device) -> None:
    rows = torch.tensor([4, -1, 1, 2, 0], dtype=torch.int32, device=device)
    ids, positions, slots = (torch.full((7,), 99, dtype=torch.int64, device=device) for _ in range(3))
    contexts = torch.full((5,), 99, dtype=torch.int32, device=device)
    token_pool, lengths, page_table = build_state(device)
    first = torch.tensor([at], dtype=torch.int32, device=device)
    prepare_decode(rows, token_pool, lengths, page_table, PAGE_SIZE, ids, positions, slots, contexts, first)
    assert ids.tolist() == [99] * at + [4 * FULL + 15, 0, FULL + 16, 0, 0][: 7 - at] + [99] * (2 - at)
    assert positions.tolist() == [99] * at + [15, 0, 16, 0, 0][: 7 - at] + [99] * (2 - at)
    assert slots.tolist() == [99] * at + [6 * 16 + 15, -1, 5 * 16, -1, 9 * 16][: 7 - at] + [99] * (2 - at)
    assert contexts.tolist() == [16, 0, 17, 0, 1]


def test_lengths_are_set_of_named_rows_alone(device: torch.device) -> None:
    _, lengths, _ = build_state(device)
    rows = torch.tensor([3, -1, 0], dtype=torch.int32, device=device)
    set_lengths(rows, torch.tensor([5, 77, 9], dtype=torch.int32, device=device), lengths)
    assert lengths.tolist() == [9, 17, 0, 5, 16]


def test_tokens_are_appended_to_active_rows_alone(device: torch.device) -> None:
    token_pool, lengths, _ = build_state(device)
    expected_pool, expected_lengths = token_pool.clone(), lengths.clone()
    expected_pool[1, 17], expected_pool[2, 0] = 1001, 1002
    expected_lengths[1], expected_lengths[2] = 18, 1
    rows = torch.tensor([1, -1, 2, 3], dtype=torch.int32, device=device)
    append_tokens(torch.tensor([1001, 5, 1002, 6], device=device), rows, token_pool, lengths)
    assert torch.equal(token_pool, expected_pool), "a padding entry or a full row was written"
    assert torch.equal(lengths, expected_lengths)
