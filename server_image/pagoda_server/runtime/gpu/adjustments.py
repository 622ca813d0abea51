"""What a row's history does to its logits: penalties, and stop tokens held back until `min_tokens`.

Few rows ask, so each is a list of the tokens concerned. The host must know all tokens chosen so far.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pagoda_server.engine.batch import Chunk
from pagoda_server.kernels.adjust import adjust_logits
from pagoda_server.runtime.gpu.staging import place
from pagoda_server.runtime.history import has_penalties, holds_stop_back


def needs_history(chunk: Chunk) -> bool:
    return has_penalties(chunk.request.sampling) or bool(list_held_back(chunk))


def list_held_back(chunk: Chunk) -> frozenset[int]:
    """Returns the stop tokens that the token which `chunk` chooses must not be."""
    request = chunk.request
    num_output_tokens = chunk.end - request.num_prompt_tokens
    is_held = holds_stop_back(request.sampling, request.stop_token_ids, num_output_tokens)
    return request.stop_token_ids if is_held else frozenset()


@dataclass(frozen=True, slots=True)
class Entries:
    """Tokens of one row: how often the answer has each (0: only the prompt, -1: neither), and what is added."""

    tokens: NDArray[np.int32]
    counts: NDArray[np.int32]
    biases: NDArray[np.float32]


def build_entries(chunk: Chunk) -> Entries:
    request = chunk.request
    counts: dict[int, int] = {}
    if has_penalties(request.sampling):
        counts = dict.fromkeys(request.token_ids[: request.num_prompt_tokens], 0)
        for token_id in request.token_ids[request.num_prompt_tokens :]:
            counts[token_id] = counts.get(token_id, 0) + 1
    held = list_held_back(chunk)
    counts |= {token_id: counts.get(token_id, -1) for token_id in held}
    return Entries(
        np.fromiter(counts.keys(), np.int32, len(counts)),
        np.fromiter(counts.values(), np.int32, len(counts)),
        np.asarray([-np.inf if token_id in held else 0.0 for token_id in counts], np.float32),
    )


def adjust(logits: Tensor, chunks: Sequence[Chunk]) -> None:
    """Adjusts logits [S, vocab] in place: row i is that of `chunks[i]`, all of whose tokens are known."""
    entries = [build_entries(chunk) for chunk in chunks]
    samplings = [chunk.request.sampling for chunk in chunks]
    lists = (
        np.repeat(np.arange(len(chunks), dtype=np.int32), [entry.tokens.size for entry in entries]),
        np.concatenate([entry.tokens for entry in entries]),
        np.concatenate([entry.counts for entry in entries]),
        np.concatenate([entry.biases for entry in entries]),
        np.asarray([sampling.presence_penalty for sampling in samplings], np.float32),
        np.asarray([sampling.frequency_penalty for sampling in samplings], np.float32),
        np.asarray([sampling.repetition_penalty for sampling in samplings], np.float32),
    )
    adjust_logits(logits, *(place(values, logits.device) for values in lists))
