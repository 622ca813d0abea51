"""Requests with logits of their own on a GPU: the reference's numbers, and nobody waits for them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

if not torch.cuda.is_available():  # before the kernels load: they would, without the interpreter the unit tests need
    pytest.skip("needs a CUDA GPU", allow_module_level=True)

from pagoda_server.engine.batch import Chunk, Limits
from pagoda_server.engine.engine import Engine
from pagoda_server.engine.pages import PagePool
from pagoda_server.engine.request import Request
from pagoda_server.engine.runner import Runner
from pagoda_server.kernels.adjust import Members, adjust
from pagoda_server.kernels.logprobs import MAX_TOP, WIDTH, build_logprobs_scratch, rank_logprobs
from pagoda_server.model.config import read_model_config
from pagoda_server.model.llama import Llama
from pagoda_server.model.loader import load_model
from pagoda_server.runtime.gpu.adjustments import apply_opening, build_adjust_table, pack_bits, plan_opening
from pagoda_server.runtime.gpu.members import count_asks
from pagoda_server.runtime.gpu.runner import GpuRunner
from pagoda_server.runtime.reference.sampler import apply_penalties, build_sampling_row, forbid_tokens, score_tokens
from pagoda_server.wire import Sampling, Submit, TokenLogprobs
from tests.doubles.constraints import TableConstraint, fill_masks
from tests.doubles.runners import GuardedRunner

pytestmark = pytest.mark.gpu
DEVICE = torch.device("cuda")
BF16 = torch.bfloat16
VOCAB = 151_936
FOLDER = Path(__file__).parents[2] / "server_image" / "sample_model" / "pagoda-tiny"
PAGES, PAGE_SIZE = 256, 64
PENALTIES: dict[str, Any] = {"presence_penalty": 0.5, "frequency_penalty": 0.25, "repetition_penalty": 1.3}
MIXED: list[dict[str, Any]] = [
    PENALTIES,
    {"logit_bias": tuple((token, token % 7 - 3.0) for token in range(40, 340))},
    {"allowed_token_ids": tuple(range(100, 400)), "logprobs": 5},
    {"min_tokens": 20, "stop_token_ids": tuple(range(50, 90))},
    {"bad_words": tuple((token, token + 1) for token in range(50, 90)) + ((99,),)},
    {**PENALTIES, "top_p": 0.9, "temperature": 0.8, "logprobs": 20},
    {},
    {"temperature": 0.9, "top_p": 0.8},
]
TABLE = {state: {token: token % 3 for token in range(60 + state, 300, 2)} for state in range(3)}


def place(values: list[int]) -> Tensor:
    return torch.tensor(values, dtype=torch.int32, device=DEVICE)


@pytest.mark.parametrize("is_constrained", [False, True])
def test_adjusted_logits_are_the_references(is_constrained: bool) -> None:
    draw = torch.Generator().manual_seed(1)
    requests = [
        Request(
            request_id=str(row),
            token_ids=torch.randint(40, 400, (300,), generator=draw).tolist(),
            num_prompt_tokens=100,
            sampling=Sampling(max_tokens=900, **asked),
            seed=0,
            stop_token_ids=frozenset(asked.get("stop_token_ids", ())),
            row=row,
            is_constrained=is_constrained,
        )
        for row, asked in enumerate(MIXED)
    ]
    table = build_adjust_table(
        len(requests), VOCAB, 1, torch.zeros((len(requests), 999), dtype=torch.int32, device=DEVICE)
    )
    apply_opening(table, [torch.from_numpy(array).to(DEVICE) for array in plan_opening(requests, VOCAB).arrays()])
    chunks = [Chunk(request, 299, 1, is_sampled=True) for request in requests]
    rows = place(list(range(len(requests))))
    members = Members(
        rows.flip(0).contiguous(), rows, place([300] * len(requests)), place(list(map(count_asks, chunks)))
    )
    mask = pack_bits(range(1, VOCAB, 5), VOCAB)
    masks = torch.from_numpy(mask).to(DEVICE).repeat(len(requests), 1)
    logits = (torch.randn((len(requests), VOCAB), device=DEVICE) * 3).to(BF16)
    out = torch.empty((len(requests), VOCAB), device=DEVICE)
    adjust(logits, table, members, masks, out)
    for row, request in enumerate(requests):
        asked = build_sampling_row(request)
        wide = apply_penalties(logits[len(requests) - 1 - row].float(), asked)
        torch.testing.assert_close(out[row], forbid_tokens(wide, asked, mask if is_constrained else None))


def test_ranked_log_probabilities_are_the_references() -> None:
    logits = (torch.randn((70, VOCAB), device=DEVICE) * 3).to(BF16)
    tokens = torch.randint(0, VOCAB, (70,), dtype=torch.int32, device=DEVICE)
    out = torch.zeros((70, WIDTH), dtype=torch.int32, device=DEVICE)
    rank_logprobs(logits, place(list(range(70))), tokens, MAX_TOP, build_logprobs_scratch(70, VOCAB, DEVICE), out)
    chosen, ids, top = score_tokens(logits.float(), tokens.long(), MAX_TOP)
    torch.testing.assert_close(out[:, 0].contiguous().view(torch.float32), chosen, atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(out[:, 1 + MAX_TOP :].contiguous().view(torch.float32), top, atol=1e-3, rtol=1e-4)
    found = logits.gather(1, out[:, 1 : 1 + MAX_TOP].long())
    assert torch.equal(found, logits.gather(1, ids.long())), "of equal logits either token"
    assert all(len(set(row)) == MAX_TOP for row in out[:, 1 : 1 + MAX_TOP].tolist())


@pytest.fixture(scope="module")
def model() -> Llama:
    return load_model(FOLDER, read_model_config(FOLDER), DEVICE, BF16)


@pytest.fixture(scope="module")
def fast(model: Llama) -> GpuRunner:
    runner = GpuRunner(model, limits_of(model), PAGES, PAGE_SIZE, deterministic=True)
    runner.capture_first()
    while runner.prepare_next():
        pass
    return runner


def limits_of(model: Llama) -> Limits:
    return Limits(512, 32, 256, model.config.vocab_size, model.config.eos_token_ids)


def answer(runner: Runner, model: Llama, asked: list[tuple[dict[str, Any], bool]]) -> list[list[int]]:
    """The tokens of each; those with a flag are constrained. A step is always under way, whatever they ask for."""
    engine = Engine(runner, limits_of(model), PagePool(PAGES, PAGE_SIZE), fill_masks=fill_masks)
    found: list[list[int]] = [[] for _ in asked]
    for index, (fields, is_constrained) in enumerate(asked):
        sampling = Sampling(max_tokens=40, seed=7, **{"temperature": 0.0, **fields})
        constraint = TableConstraint(TABLE, model.config.eos_token_ids) if is_constrained else None
        prompt = [5 + (index * 31 + place) % 200 for place in range(20 + 9 * index)]
        assert engine.submit(Submit(str(index), prompt, sampling), constraint) is None
    steps_ahead = set[int]()
    while engine.has_work:
        for delta in engine.step():
            found[int(delta.request_id)] += delta.token_ids
        steps_ahead.add(engine.num_in_flight)
    assert 1 in steps_ahead and not engine.take_rejections()
    return found


@contextmanager
def refuse_to_wait() -> Iterator[None]:
    """Raises RuntimeError where the host waits for the device."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


EVERY = [*((fields, False) for fields in MIXED), *((fields, True) for fields in MIXED[:2] + MIXED[5:])]


def test_nobody_waits_for_what_others_ask(model: Llama, fast: GpuRunner) -> None:
    expected = answer(fast, model, EVERY)  # compiles what is compiled when it is first used
    assert answer(GuardedRunner(fast, refuse_to_wait), model, EVERY) == expected


def test_an_answer_is_the_same_alone_as_among_others(model: Llama, fast: GpuRunner) -> None:
    together = answer(fast, model, EVERY)
    for index in range(0, len(EVERY), 3):
        others: list[tuple[dict[str, Any], bool]] = [({}, False)] * index
        assert answer(fast, model, [*others, EVERY[index]])[index] == together[index]


def test_a_graph_chooses_what_launches_do(model: Llama, fast: GpuRunner) -> None:
    plain = GpuRunner(model, limits_of(model), PAGES, PAGE_SIZE, deterministic=True)
    assert answer(plain, model, EVERY) == answer(fast, model, EVERY)


def test_prompts_are_scored_the_same_in_one_piece_as_in_many(model: Llama, fast: GpuRunner) -> None:
    def score(build: Callable[[], Engine]) -> list[TokenLogprobs]:
        engine = build()
        prompt = [5 + place % 200 for place in range(400)]
        assert engine.submit(Submit("a", prompt, Sampling(max_tokens=0, prompt_logprobs=5))) is None
        deltas = []
        while engine.has_work:
            deltas += engine.step()
        assert deltas[-1].finish_reason == "length"
        return list(chain(*(part.unpack() for delta in deltas for part in delta.prompt_logprobs or ())))

    def build(max_batched_tokens: int) -> Engine:
        limits = Limits(512, 32, max_batched_tokens, model.config.vocab_size)
        return Engine(fast, limits, PagePool(PAGES, PAGE_SIZE))

    whole, parts = score(lambda: build(256)), score(lambda: build(37))
    assert len(whole) == len(parts) == 399
    for one, other in zip(whole, parts, strict=True):
        assert one.chosen == pytest.approx(other.chosen, abs=1e-5)
        assert [token for token, _ in one.top] == [token for token, _ in other.top]
