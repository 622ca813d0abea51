"""What fp8 changes in the answers: `python -m bench accuracy`, on any machine, a minute for the bundled model.

The unquantized model, computed in float32, answers questions that it was not trained on, greedily. Each variant then
scores those same tokens: how far their log-probabilities move, the divergence of the whole distribution (Kullback and
Leibler, 1951), and how often it would have chosen the same token. Arithmetic in bf16 is a variant too: the yardstick.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import torch
from torch import Tensor

from pagoda_server.engine.batch import Limits
from pagoda_server.engine.engine import Engine
from pagoda_server.engine.pages import PagePool
from pagoda_server.kernels.e4m3 import E4M3
from pagoda_server.model.config import read_model_config
from pagoda_server.model.llama import Llama
from pagoda_server.model.loader import load_model
from pagoda_server.runtime.reference.runner import Batch, ReferenceRunner
from pagoda_server.wire import Sampling, Submit
from sample_model import corpus

BUNDLED = Path(corpus.__file__).parent / "pagoda-tiny"
SEED = 7
PAGE_SIZE = 16
MAX_ANSWER_TOKENS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    name: str
    dtype: torch.dtype = torch.float32
    fp8_weights: bool = False
    kv_dtype: torch.dtype | None = None


REFERENCE = Variant(name="float32")
VARIANTS = (
    Variant(name="bf16 arithmetic", dtype=torch.bfloat16),
    Variant(name="fp8 weights and activations", fp8_weights=True),
    Variant(name="fp8 KV cache", kv_dtype=E4M3),
    Variant(name="fp8 weights, activations and KV cache", fp8_weights=True, kv_dtype=E4M3),
)


@dataclass(frozen=True, slots=True)
class Exchange:
    prompt: list[int]
    answer: list[int]


@dataclass(frozen=True, slots=True)
class Distance:
    mean: float
    """|Δ log-prob|, in nats."""
    largest: float
    divergence: float
    """Mean over the tokens, in nats."""
    same_choice: float
    """Share of the tokens."""
    num_tokens: int


def load(folder: Path, variant: Variant) -> Llama:
    config = read_model_config(folder)
    return load_model(folder, config, torch.device("cpu"), variant.dtype, fp8=variant.fp8_weights)


def read_prompts(folder: Path, questions: Sequence[str]) -> list[list[int]]:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    chats = [[{"role": "user", "content": question}] for question in questions]
    texts = [tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True) for chat in chats]
    return [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]


def answer(model: Llama, prompts: Sequence[list[int]]) -> list[Exchange]:
    """Returns each prompt with the engine's greedy answer."""
    config, longest = model.config, max(map(len, prompts)) + MAX_ANSWER_TOKENS
    num_pages = len(prompts) * -(-longest // PAGE_SIZE)
    limits = Limits(longest, len(prompts), longest * len(prompts), config.vocab_size, config.eos_token_ids)
    engine = Engine(ReferenceRunner(model, num_pages, PAGE_SIZE), limits, PagePool(num_pages, PAGE_SIZE))
    answers: dict[str, list[int]] = {}
    for index, prompt in enumerate(prompts):
        answers[str(index)] = []
        engine.submit(Submit(str(index), prompt, Sampling(max_tokens=MAX_ANSWER_TOKENS, temperature=0.0)))
    while engine.has_work:
        for delta in engine.step():
            answers[delta.request_id] += delta.token_ids
    return [Exchange(prompt, tokens) for prompt, tokens in zip(prompts, answers.values(), strict=True)]


def build_batch(sequences: Sequence[list[int]]) -> Batch:
    """Returns a batch of whole sequences, each on pages of its own."""
    pages = [-(-len(sequence) // PAGE_SIZE) for sequence in sequences]
    firsts = [0, *accumulate(pages)]
    positions = [position for sequence in sequences for position in range(len(sequence))]
    slots = [
        first * PAGE_SIZE + p for first, sequence in zip(firsts, sequences, strict=False) for p in range(len(sequence))
    ]
    return Batch(
        input_ids=torch.tensor([token for sequence in sequences for token in sequence]),
        positions=torch.tensor(positions),
        slots=torch.tensor(slots),
        page_tables=[torch.arange(first, first + count) for first, count in zip(firsts, pages, strict=False)],
        cu_seqlens=[0, *accumulate(map(len, sequences))],
        context_lengths=[len(sequence) for sequence in sequences],
        sample_indices=torch.tensor([], dtype=torch.int64),
    )


@torch.inference_mode()
def score(model: Llama, exchanges: Sequence[Exchange], kv_dtype: torch.dtype | None) -> Tensor:
    """Returns log-probabilities [answers' tokens, vocab], each given the exact tokens in front of it."""
    batch = build_batch([exchange.prompt + exchange.answer for exchange in exchanges])
    runner = ReferenceRunner(model, sum(map(len, batch.page_tables)), PAGE_SIZE, kv_dtype)
    ends = batch.cu_seqlens[1:]
    before = [
        index for end, exchange in zip(ends, exchanges, strict=True) for index in range(end - len(exchange.answer), end)
    ]
    hidden = runner.compute_hidden(batch)[torch.tensor(before) - 1]
    return torch.log_softmax(model.compute_logits(hidden).float(), dim=-1)


def compare(reference: Tensor, found: Tensor, chosen: Tensor) -> Distance:
    """Takes log-probabilities reference and found [tokens, vocab], and the tokens chosen [tokens]."""
    moved = (reference - found).gather(1, chosen[:, None]).abs()
    divergence = (reference.exp() * (reference - found)).sum(-1).mean()
    same = (found.argmax(-1) == chosen).float().mean()
    return Distance(float(moved.mean()), float(moved.max()), float(divergence), float(same), chosen.numel())


def measure(folder: Path, questions: Sequence[str]) -> dict[str, Distance]:
    """Returns the distance of every variant, by its name."""
    model = load(folder, REFERENCE)
    exchanges = answer(model, read_prompts(folder, questions))
    reference = score(model, exchanges, None)
    chosen = torch.tensor([token for exchange in exchanges for token in exchange.answer])
    return {
        variant.name: compare(reference, score(load(folder, variant), exchanges, variant.kv_dtype), chosen)
        for variant in VARIANTS
    }


def render(distances: dict[str, Distance]) -> str:
    lines = [
        "| variant | mean abs Δ log-prob | largest | mean divergence | same token chosen | tokens |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {name} | {found.mean:.5f} | {found.largest:.3f} | {found.divergence:.1e} "
        f"| {found.same_choice:.2%} | {found.num_tokens:,} |"
        for name, found in distances.items()
    ]
    return "\n".join(lines)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench accuracy", description=__doc__)
    parser.add_argument(
        "--model", type=Path, default=BUNDLED, help="folder with unquantized weights (default: bundled)"
    )
    parser.add_argument("--per-kind", type=int, default=60, help="questions of each of the five kinds (default: 60)")
    args = parser.parse_args(argv)
    questions = [exchange.question for exchange in corpus.build_held_out(SEED, args.per_kind)]
    print(render(measure(args.model, questions)))
    return 0
