"""Chooses the next token of each row. Every row is worked alone, so its tokens do not depend on the batch.

Order: penalties, `min_tokens`, temperature, min_p, top_k, top_p, then Gumbel-max (argmax of log-probability plus
Gumbel noise draws from the distribution). The noise is keyed by (seed, position). Logprobs are the model's own, before
any of this.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pagoda_server.engine.request import Request
from pagoda_server.engine.runner import Sampled
from pagoda_server.runtime.history import has_penalties, holds_stop_back
from pagoda_server.wire import GREEDY_TEMPERATURE, Sampling, TokenLogprobs


@dataclass(frozen=True, slots=True)
class SamplingRow:
    sampling: Sampling
    seed: int
    position: int
    """The position of the token to choose, in the whole sequence."""
    prompt_token_ids: Sequence[int]
    output_token_ids: Sequence[int]
    stop_token_ids: frozenset[int]

    @property
    def is_plain_greedy(self) -> bool:
        return is_greedy(self.sampling) and not has_penalties(self.sampling) and not self.holds_stop_back

    @property
    def holds_stop_back(self) -> bool:
        return holds_stop_back(self.sampling, self.stop_token_ids, len(self.output_token_ids))


def is_greedy(sampling: Sampling) -> bool:
    return sampling.temperature < GREEDY_TEMPERATURE


def build_sampling_row(request: Request) -> SamplingRow:
    num_prompt = request.num_prompt_tokens
    return SamplingRow(
        sampling=request.sampling,
        seed=request.seed,
        position=request.num_tokens,
        prompt_token_ids=request.token_ids[:num_prompt],
        output_token_ids=request.token_ids[num_prompt:],
        stop_token_ids=request.stop_token_ids,
    )


@torch.inference_mode()
def sample_rows(logits: Tensor, rows: Sequence[SamplingRow]) -> list[Sampled]:
    """Chooses by logits [S, vocab] float32, left as they were → S tokens, with logprobs where asked.

    A row with NaN, or of -inf alone, has no best: its token is -1, its logprobs are None.
    """
    if not rows:
        return []
    values, greedy = logits.max(dim=-1)
    results: list[Sampled] = []
    for row, row_logits, value, best in zip(rows, logits, values.tolist(), greedy.tolist(), strict=True):
        if not math.isfinite(value):
            results.append((-1, None))
            continue
        token_id = best if row.is_plain_greedy else choose_token(row_logits, row)
        top = row.sampling.logprobs
        results.append((token_id, None if top is None else compute_logprobs(row_logits, token_id, top)))
    return results


def choose_token(logits: Tensor, row: SamplingRow) -> int:
    """Returns the token that logits [vocab] float32 give this row."""
    logits = apply_penalties(logits, row)
    if is_greedy(row.sampling):
        return int(logits.argmax())
    logprobs = filter_tokens(torch.log_softmax(logits / row.sampling.temperature, dim=-1), row.sampling)
    return int((logprobs + draw_gumbel(row.seed, row.position, logits.shape[0]).to(logits.device)).argmax())


def apply_penalties(logits: Tensor, row: SamplingRow) -> Tensor:
    """Returns a new [vocab]: repetition over prompt and answer, presence and frequency over the answer, stops held."""
    logits, sampling = logits.clone(), row.sampling
    if has_penalties(sampling):
        output = torch.tensor(row.output_token_ids, dtype=torch.int64, device=logits.device)
        counts = torch.bincount(output, minlength=logits.shape[0])
        prompt = torch.tensor(row.prompt_token_ids, dtype=torch.int64, device=logits.device)
        seen = (counts + torch.bincount(prompt, minlength=logits.shape[0])) > 0
        factor = sampling.repetition_penalty
        logits = torch.where(seen, torch.where(logits > 0, logits / factor, logits * factor), logits)
        logits = logits - sampling.frequency_penalty * counts - sampling.presence_penalty * (counts > 0)
    if row.holds_stop_back:
        logits[[token_id for token_id in row.stop_token_ids if 0 <= token_id < logits.shape[0]]] = -torch.inf
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
