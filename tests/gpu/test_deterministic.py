"""With `deterministic`, a request's tokens and log-probabilities are the same bits alone, in a crowd and preempted."""

import random

import pytest
import torch

if not torch.cuda.is_available():
    pytest.skip("needs a CUDA GPU", allow_module_level=True)

from pagoda_server.engine.batch import Limits
from pagoda_server.engine.engine import Engine
from pagoda_server.engine.pages import PagePool
from pagoda_server.kernels.invariant_linear import invariant_linear
from pagoda_server.model.config import parse_model_config
from pagoda_server.model.llama import Llama
from pagoda_server.runtime.gpu.runner import GpuRunner
from pagoda_server.wire import Sampling, Submit, TokenLogprobs

pytestmark = pytest.mark.gpu
DEVICE = torch.device("cuda")
VOCAB, PAGES = 32_000, 600
Answer = list[tuple[int, float]]


def build_model(dtype: torch.dtype) -> Llama:
    """Builds random weights that make every next token a close call."""
    torch.manual_seed(0)
    config = parse_model_config(
        {
            "architectures": ["LlamaForCausalLM"],
            "vocab_size": VOCAB,
            "hidden_size": 1024,
            "num_hidden_layers": 4,
            "num_attention_heads": 16,
            "num_key_value_heads": 4,
            "head_dim": 128,
            "intermediate_size": 2816,
            "rms_norm_eps": 1e-5,
            "rope_theta": 10_000.0,
            "max_position_embeddings": 8192,
        },
        {},
    )
    with DEVICE:
        model = Llama(config).to(dtype).requires_grad_(False).eval()
    for parameter in model.parameters():
        parameter.data.normal_(1.0 if parameter.dim() == 1 else 0.0, 0.02)
    return model


@pytest.fixture(scope="module", params=[torch.bfloat16, torch.float16])
def runner(request: pytest.FixtureRequest) -> GpuRunner:
    limits = Limits(max_model_len=4096, max_num_seqs=64, max_batched_tokens=512, vocab_size=VOCAB)
    runner = GpuRunner(build_model(request.param), limits, PAGES, 64, deterministic=True)
    runner.capture_first()
    return runner


def answer(
    runner: GpuRunner, requests: list[tuple[list[int], Sampling]], pages: int = PAGES
) -> tuple[list[Answer], int]:
    """Tokens with their log-probabilities, and how often one was preempted."""
    limits = Limits(max_model_len=4096, max_num_seqs=64, max_batched_tokens=512, vocab_size=VOCAB)
    engine = Engine(runner, limits, PagePool(pages, 64))
    for index, (prompt, sampling) in enumerate(requests):
        assert engine.submit(Submit(str(index), prompt, sampling)) is None
    found: list[Answer] = [[] for _ in requests]
    while engine.has_work:
        for delta in engine.step():
            logprobs: list[TokenLogprobs] = delta.logprobs or []
            chosen = [one.chosen for one in logprobs]
            found[int(delta.request_id)] += zip(delta.token_ids, chosen, strict=True)
    return found, engine.stats().preemptions


def draw_requests(count: int) -> list[tuple[list[int], Sampling]]:
    draw = random.Random(1)
    requests = []
    for index in range(count):
        prompt = [draw.randrange(VOCAB) for _ in range(draw.choice([1, 5, 64, 65, 300, 700, 1500]))]
        temperature = draw.choice([0.0, 0.8])
        requests.append(
            (
                prompt,
                Sampling(max_tokens=48, temperature=temperature, top_p=0.95, seed=index, logprobs=0, ignore_eos=True),
            )
        )
    return requests


def test_the_same_bits_alone_and_in_a_crowd(runner: GpuRunner) -> None:
    requests = draw_requests(60)
    crowd, _ = answer(runner, requests)
    for index in range(0, 60, 7):
        alone, _ = answer(runner, [requests[index]])
        assert alone == [crowd[index]]


def test_the_same_bits_when_preempted(runner: GpuRunner) -> None:
    requests = draw_requests(24)
    calm, _ = answer(runner, requests)
    pressed, preemptions = answer(runner, requests, pages=26)
    assert preemptions and pressed == calm


@pytest.mark.parametrize(("columns", "size"), [(6144, 4096), (4096, 14336), (151_936, 1024), (33, 100)])
def test_a_row_of_the_product_is_the_same_in_any_batch(columns: int, size: int) -> None:
    x = torch.randn((300, size), device=DEVICE).to(torch.bfloat16)
    weight = torch.randn((columns, size), device=DEVICE).to(torch.bfloat16)
    whole = invariant_linear(x, weight)
    wide = x.float() @ weight.float().t()
    assert float((whole.float() - wide).norm() / wide.norm()) < 4e-3
    for begin, end in ((0, 1), (7, 8), (63, 66), (100, 299)):
        assert torch.equal(invariant_linear(x[begin:end].contiguous(), weight), whole[begin:end])
