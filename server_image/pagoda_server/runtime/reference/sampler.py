"""Chooses the next token of each row. Every row is worked alone, so its tokens do not depend on the batch.

Order: penalties, biases, tokens that are not allowed, temperature, min_p, top_k, top_p, then Gumbel-max (argmax of
log-probability plus Gumbel noise draws from the distribution). The noise is keyed by (seed, position). Logprobs are the
model's own, before any of this.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pagoda_server.engine.constraint import Masks
from pagoda_server.engine.request import Request
from pagoda_server.engine.runner import NO_BEST, NOTHING_ALLOWED, Sampled
from pagoda_server.runtime.history import MAX_COUNTED, find_own_logits_end, has_penalties, holds_stop_back
from pagoda_server.wire import GREEDY_TEMPERATURE, Sampling, TokenLogprobs


@dataclass(frozen=True, slots=True)
class SamplingRow:
    sampling: Sampling
    seed: int
    position: int
    """The position of the token to choose, in the whole sequence."""
    prompt_token_ids: Sequence[int]
    output_token_ids: Sequence[int]
    held_token_ids: frozenset[int] = frozenset()
    """Stop tokens that `min_tokens` holds back."""
    has_own_logits: bool = True
    """False: nothing but the filters is asked for."""
    is_constrained: bool = False

    @property
    def is_plain_greedy(self) -> bool:
        return is_greedy(self.sampling) and not self.has_own_logits


def is_greedy(sampling: Sampling) -> bool:
    return sampling.temperature < GREEDY_TEMPERATURE


def build_sampling_row(request: Request) -> SamplingRow:
    num_prompt, position = request.num_prompt_tokens, request.num_tokens
    return SamplingRow(
        sampling=request.sampling,
        seed=request.seed,
        position=position,
        prompt_token_ids=request.token_ids[:num_prompt],
        output_token_ids=request.token_ids[num_prompt:],
        held_token_ids=request.stop_token_ids if holds_stop_back(request, position) else frozenset(),
        has_own_logits=position < find_own_logits_end(request),
        is_constrained=request.is_constrained,
    )


@torch.inference_mode()
def sample_rows(logits: Tensor, rows: Sequence[SamplingRow], masks: Masks | None = None) -> list[Sampled]:
    """Chooses by logits [S, vocab] float32, left as they were → S tokens, with logprobs where asked.

    `masks` are those of the constrained rows, in their order. A row with NaN, or of -inf alone, has no best: its token
    is `NO_BEST`, its logprobs are None.
    """
    if not rows:
        return []
    values, greedy = logits.max(dim=-1)
    given = iter(() if masks is None else masks)
    results: list[Sampled] = []
    for row, row_logits, value, best in zip(rows, logits, values.tolist(), greedy.tolist(), strict=True):
        mask = next(given) if row.is_constrained else None
        if not math.isfinite(value):
            results.append((NO_BEST, None))
            continue
        token_id = best if row.is_plain_greedy else choose_token(row_logits, row, mask)
        top = row.sampling.logprobs if token_id >= 0 else None
        results.append((token_id, None if top is None else compute_logprobs(row_logits, token_id, top)))
    return results


def choose_token(logits: Tensor, row: SamplingRow, mask: NDArray[np.int32] | None = None) -> int:
    """Returns the token that logits [vocab] float32 give this row, or `NOTHING_ALLOWED`."""
    logits = forbid_tokens(apply_penalties(logits, row), row, mask)
    if logits.max() == -torch.inf:
        return NOTHING_ALLOWED
    if is_greedy(row.sampling):
        return int(logits.argmax())
    logprobs = filter_tokens(torch.log_softmax(logits / row.sampling.temperature, dim=-1), row.sampling)
    return int((logprobs + draw_gumbel(row.seed, row.position, logits.shape[0]).to(logits.device)).argmax())


def apply_penalties(logits: Tensor, row: SamplingRow) -> Tensor:
    """Returns a new [vocab]: repetition over prompt and answer, presence and frequency over the answer, biases."""
    logits, sampling = logits.clone(), row.sampling
    if has_penalties(sampling):
        output = torch.tensor(row.output_token_ids, dtype=torch.int64, device=logits.device)
        counts = torch.bincount(output, minlength=logits.shape[0]).clamp(max=MAX_COUNTED)
        prompt = torch.tensor(row.prompt_token_ids, dtype=torch.int64, device=logits.device)
        seen = (counts + torch.bincount(prompt, minlength=logits.shape[0])) > 0
        factor = sampling.repetition_penalty
        logits = torch.where(seen, torch.where(logits > 0, logits / factor, logits * factor), logits)
        logits = logits - sampling.frequency_penalty * counts - sampling.presence_penalty * (counts > 0)
    for token_id, bias in sampling.logit_bias:
        logits[token_id] += bias
    return logits


def forbid_tokens(logits: Tensor, row: SamplingRow, mask: NDArray[np.int32] | None = None) -> Tensor:
    """Returns [vocab] with -inf for tokens that are not allowed, held back, or end a bad word. It uses `logits` up."""
    sampling, vocab_size = row.sampling, logits.shape[0]
    if sampling.allowed_token_ids is not None:
        allowed = torch.zeros_like(logits, dtype=torch.bool)
        allowed[list(sampling.allowed_token_ids)] = True
        logits = logits.masked_fill(~allowed, -torch.inf)
    if mask is not None:
        bits = np.unpackbits(mask.view(np.uint8), bitorder="little")[:vocab_size]
        logits = logits.masked_fill(torch.from_numpy(bits == 0).to(logits.device), -torch.inf)
    forbidden = [token_id for token_id in row.held_token_ids if 0 <= token_id < vocab_size]
    for *before, last in sampling.bad_words:
        if not before or list(row.output_token_ids[-len(before) :]) == before:
            forbidden.append(last)
    logits[forbidden] = -torch.inf
    return logits


def filter_tokens(logprobs: Tensor, sampling: Sampling) -> Tensor:
    """Returns [vocab] with -inf for tokens that min_p, top_k or top_p leave out; the likeliest always stays."""
    if sampling.min_p > 0.0:
        probabilities = logprobs.exp()
        logprobs = logprobs.masked_fill(probabilities < sampling.min_p * probabilities.max(), -torch.inf)
    vocab_size = logprobs.shape[0]
    if not (0 < sampling.top_k < vocab_size or sampling.top_p < 1.0):
        return logprobs
    ordered, order = logprobs.sort(descending=True, stable=True)
    drop = torch.zeros_like(ordered, dtype=torch.bool)
    if 0 < sampling.top_k < vocab_size:
        drop[sampling.top_k :] = True
    if sampling.top_p < 1.0:
        kept = torch.softmax(ordered.masked_fill(drop, -torch.inf), dim=-1)
        drop |= kept.cumsum(-1) - kept >= sampling.top_p
    drop[0] = False
    return logprobs.masked_fill(torch.zeros_like(drop).scatter(0, order, drop), -torch.inf)


def draw_gumbel(seed: int, position: int, size: int) -> Tensor:
    """Draws [size] float32 on CPU, the same for the same (seed, position) on any device and in any batch."""
    key = hashlib.blake2b(f"{seed}:{position}".encode(), digest_size=7).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(key, "big"))
    return -torch.empty(size).exponential_(generator=generator).clamp_min_(1e-30).log()


def compute_logprobs(logits: Tensor, token_id: int, num_top: int) -> TokenLogprobs:
    """Computes logits [vocab] float32 → natural logarithms of the chosen token and the `num_top` likeliest."""
    logprobs = torch.log_softmax(logits, dim=-1)
    values, indices = logprobs.topk(min(num_top, logits.shape[0]))
    return TokenLogprobs(
        chosen=float(logprobs[token_id]), top=list(zip(indices.tolist(), values.tolist(), strict=True))
    )


def score_tokens(logits: Tensor, tokens: Tensor, num_top: int) -> tuple[Tensor, Tensor, Tensor]:
    """Computes logits [T, vocab] float32 → [T] of the tokens, then [T, num_top] the likeliest, int32, and theirs."""
    logprobs = torch.log_softmax(logits, dim=-1)
    top, ids = logprobs.topk(min(num_top, logits.shape[1]), dim=-1)
    return logprobs.gather(1, tokens.to(logits.device)[:, None])[:, 0], ids.int(), top
