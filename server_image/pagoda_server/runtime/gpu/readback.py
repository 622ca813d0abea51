"""Results on their way to the host: copied beside the device's work, waited for when they are needed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pagoda_server.engine.batch import Chunk
from pagoda_server.runtime.gpu.staging import place
from pagoda_server.wire import TokenLogprobs


def copy_back(tensor: Tensor) -> Callable[[], Tensor]:
    """Begins to copy to the host; returns a function that waits for the copy."""
    if tensor.device.type != "cuda":
        copied = tensor.clone()
        return lambda: copied
    back = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    back.copy_(tensor, non_blocking=True)
    done = torch.cuda.Event()  # type: ignore[no-untyped-call]
    done.record()

    def read() -> Tensor:
        done.synchronize()
        return back

    return read


@dataclass(frozen=True, slots=True)
class SampledBatch:
    """A step's sampling chunks, and in their order the logits [S, vocab] and the tokens [S]."""

    chunks: Sequence[Chunk]
    logits: Tensor
    tokens: Tensor

    def begin_logprobs(self) -> Callable[[], dict[int, TokenLogprobs]]:
        """Begins to copy the log-probabilities of the chunks that ask; the function returns them by the chunk's id.

        They are the model's own, before anything that sampling does.
        """
        wanted = [(i, c, c.request.sampling.logprobs) for i, c in enumerate(self.chunks)]
        asked = [(i, c, count) for i, c, count in wanted if count is not None]
        if not asked:
            return dict
        index = place(np.array([i for i, _, _ in asked]), self.logits.device)
        logprobs = torch.log_softmax(self.logits.index_select(0, index).float(), dim=-1)
        num_top = min(max(1, *(count for _, _, count in asked)), logprobs.shape[-1])
        values, ids = logprobs.topk(num_top, dim=-1)
        chosen = logprobs.gather(1, self.tokens.index_select(0, index).long().clamp(min=0)[:, None])
        reads = [copy_back(tensor) for tensor in (chosen[:, 0], values, ids)]

        def read() -> dict[int, TokenLogprobs]:
            rows = zip(asked, *(read().tolist() for read in reads), strict=True)
            return {
                id(chunk): TokenLogprobs(chosen=own, top=list(zip(top_ids[:count], top[:count], strict=True)))
                for (_, chunk, count), own, top, top_ids in rows
            }

        return read
