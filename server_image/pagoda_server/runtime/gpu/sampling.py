"""The choice of next tokens on the device, by the logits and by what the state knows of the rows that choose."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pagoda_server.kernels.prepare import append_tokens
from pagoda_server.kernels.sampler import SamplerScratch, build_sampler_scratch, sample
from pagoda_server.model.llama import Llama
from pagoda_server.runtime.gpu.adjustments import adjust, needs_history
from pagoda_server.runtime.gpu.device_state import DeviceState
from pagoda_server.runtime.gpu.readback import SampledBatch
from pagoda_server.runtime.gpu.staging import place


@dataclass(frozen=True, slots=True)
class DeviceSampler:
    """R rows at most choose in a step, at fixed places, so that a CUDA graph can hold the choice."""

    state: DeviceState
    logits: Tensor
    """[R, vocab] of the activations' dtype."""
    tokens: Tensor
    """[R] int32: the choice; below 0 where the logits have no best."""
    scratch: SamplerScratch

    def choose(self, rows: Tensor, positions: Tensor) -> None:
        """Chooses by the logits for each of rows [S]. `positions`: of the new tokens, so how many were before each."""
        logits, tokens = self.logits[: rows.shape[0]], self.tokens[: rows.shape[0]]
        sample(logits, self.state.sampling, rows, positions, self.scratch, tokens)
        append_tokens(tokens, rows, self.state.token_pool, self.state.lengths)

    def choose_by_history(self, batch: SampledBatch) -> bool:
        """Chooses again for rows whose logits depend on the tokens so far, which the host lists; False for none."""
        members = [(index, chunk) for index, chunk in enumerate(batch.chunks) if needs_history(chunk)]
        if not members:
            return False
        device = batch.logits.device
        index = place(np.array([index for index, _ in members]), device)
        logits = batch.logits.index_select(0, index).float()
        adjust(logits, [chunk for _, chunk in members])
        rows, positions = (
            place(np.asarray(values, np.int32), device)
            for values in ([chunk.request.row for _, chunk in members], [chunk.end for _, chunk in members])
        )
        tokens = torch.empty_like(rows)
        sample(logits, self.state.sampling, rows, positions, self.scratch, tokens)
        batch.tokens.index_copy_(0, index, tokens)
        self.state.token_pool.index_put_((rows.long(), positions.long()), tokens.clamp(min=0))
        return True


def build_device_sampler(model: Llama, state: DeviceState) -> DeviceSampler:
    num_rows, vocab_size = state.lengths.shape[0], model.config.vocab_size
    return DeviceSampler(
        state=state,
        logits=model.embedding.new_empty((num_rows, vocab_size)),
        tokens=torch.zeros(num_rows, dtype=torch.int32, device=state.lengths.device),
        scratch=build_sampler_scratch(num_rows, vocab_size, state.lengths.device),
    )
