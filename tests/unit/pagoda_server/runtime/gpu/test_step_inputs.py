"""The packed inputs of a step with prompts say what the reference's batch says."""

import torch

from pagoda_server.engine.batch import Chunk
from pagoda_server.engine.request import Request
from pagoda_server.runtime.gpu.step_inputs import MixedInputs, choose_token_buckets
from pagoda_server.runtime.reference.runner import build_batch
from pagoda_server.wire import Sampling

PAGE_SIZE, CPU = 16, torch.device("cpu")


def build_chunk(row: int, start: int, num_tokens: int, *, is_sampled: bool) -> Chunk:
    total = start + num_tokens + (0 if is_sampled else 7)
    request = Request(
        request_id=str(row),
        token_ids=[(row * 31 + position) % 199 for position in range(total)],
        num_prompt_tokens=total,
        sampling=Sampling(max_tokens=4),
        seed=row,
        row=row,
        page_ids=[row * 10 + index for index in range(-(-total // PAGE_SIZE))],
    )
    return Chunk(request, start, num_tokens, is_sampled)


PROMPTS = [
    build_chunk(4, 0, 20, is_sampled=True),
    build_chunk(1, 30, 18, is_sampled=False),
    build_chunk(7, 47, 2, is_sampled=True),
]
DECODES = [build_chunk(2, 5, 1, is_sampled=True), build_chunk(0, 33, 1, is_sampled=True)]


def test_prompts_are_the_references_batch_and_decodes_follow() -> None:
    inputs, reference = MixedInputs(64, 8, PAGE_SIZE, CPU), build_batch(PROMPTS, PAGE_SIZE, CPU)
    inputs.load(torch.from_numpy(inputs.pack(64, DECODES, PROMPTS)))
    mixed = inputs.view(64)
    assert mixed.input_ids[:40].tolist() == reference.input_ids.tolist()
    assert mixed.positions[:40].tolist() == reference.positions.tolist()
    assert mixed.slots.tolist() == [*reference.slots.tolist(), *[-1] * 24]
    assert mixed.cu_seqlens.tolist() == [*reference.cu_seqlens, *[40] * 5]
    assert mixed.rows.tolist() == [4, 1, 7, *[-1] * 5]
    assert mixed.lengths.tolist() == [*reference.context_lengths, *[0] * 5]
    assert mixed.first_decode.tolist() == [40]
    assert mixed.decode_rows.tolist() == [2, 0, *[-1] * 6]
    assert mixed.sampled[:4].tolist() == [40, 41, *reference.sample_indices.tolist()]
    assert mixed.sampled_rows.tolist() == [2, 0, 4, 7, *[-1] * 4]


def test_cleared_inputs_are_those_of_nobody() -> None:
    inputs = MixedInputs(64, 8, PAGE_SIZE, CPU)
    inputs.load(torch.from_numpy(inputs.pack(64, DECODES, PROMPTS)))
    inputs.clear(48)
    mixed = inputs.view(48)
    for nobody in (mixed.slots, mixed.rows, mixed.decode_rows, mixed.sampled_rows):
        assert set(nobody.tolist()) == {-1}
    for zero in (mixed.input_ids, mixed.positions, mixed.cu_seqlens, mixed.lengths, mixed.first_decode, mixed.sampled):
        assert set(zero.tolist()) == {0}


def test_buckets_end_with_the_largest_step() -> None:
    assert choose_token_buckets(32) == [32]
    assert choose_token_buckets(2048)[-3:] == [1792, 1920, 2048]
    assert choose_token_buckets(8192)[-2:] == [7936, 8192]
