"""The choice of next tokens on the device, by the logits and by what the state knows of the rows that choose."""

from dataclasses import dataclass

import torch
from torch import Tensor

from pagoda_server.kernels.adjust import AdjustTable, adjust, settle
from pagoda_server.kernels.prepare import append_tokens
from pagoda_server.kernels.sampler import SamplerScratch, build_sampler_scratch, sample
from pagoda_server.model.llama import Llama
from pagoda_server.runtime.gpu.adjustments import build_adjust_table
from pagoda_server.runtime.gpu.device_state import DeviceState
from pagoda_server.runtime.gpu.members import MemberInputs


@dataclass(frozen=True, slots=True)
class DeviceSampler:
    """R rows at most choose in a step, at fixed places, so that a CUDA graph can hold the choice.

    All of them choose by the model's logits first. Those with logits of their own choose again, which needs nothing of
    the host but who they are; those that are constrained do so later, once the host has their masks.
    """

    state: DeviceState
    logits: Tensor
    """[R, vocab] of the activations' dtype: the model's own."""
    tokens: Tensor
    """[R] int32: the choice; below 0 where there is none."""
    scratch: SamplerScratch
    table: AdjustTable
    members: MemberInputs
    adjusted: Tensor
    """[R, vocab] float32: the logits of those that choose again."""
    chosen_again: Tensor
    """[R] int32"""

    def choose(self, rows: Tensor, positions: Tensor) -> None:
        """Chooses by the logits for each of rows [S]. `positions`: of the new tokens, so how many were before each."""
        logits, tokens = self.logits[: rows.shape[0]], self.tokens[: rows.shape[0]]
        sample(logits, self.state.sampling, rows, positions, self.scratch, tokens)
        append_tokens(tokens, rows, self.state.token_pool, self.state.lengths)

    def choose_again(self, bucket: int) -> None:
        """Chooses for the members that were loaded, and puts the tokens in the place of the first choice."""
        members, masks = self.members.view(bucket)
        adjusted, chosen = self.adjusted[:bucket], self.chosen_again[:bucket]
        adjust(self.logits, self.table, members, masks, adjusted)
        sample(adjusted, self.state.sampling, members.rows, members.positions, self.scratch, chosen)
        settle(chosen, self.table, members, self.tokens)


def build_device_sampler(model: Llama, state: DeviceState, num_eos: int) -> DeviceSampler:
    num_rows, vocab_size, device = state.lengths.shape[0], model.config.vocab_size, state.lengths.device
    return DeviceSampler(
        state=state,
        logits=model.embedding.new_empty((num_rows, vocab_size)),
        tokens=torch.zeros(num_rows, dtype=torch.int32, device=device),
        scratch=build_sampler_scratch(num_rows, vocab_size, device),
        table=build_adjust_table(num_rows, vocab_size, num_eos, state.token_pool),
        members=MemberInputs(num_rows, vocab_size, device),
        adjusted=torch.zeros((num_rows, vocab_size), dtype=torch.float32, device=device),
        chosen_again=torch.zeros(num_rows, dtype=torch.int32, device=device),
    )
