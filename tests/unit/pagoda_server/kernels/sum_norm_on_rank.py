"""`sum_norm_on_rank.py FOLDER RANKS RANK`: one of the processes of `test_sum_norm.py`; ends with 0 when sums are right.

Passes of different numbers of tokens, as they come in life; each is of two sums, and the next begins at once.
"""

import sys
from pathlib import Path

import torch
from torch import Tensor

from pagoda_server.kernels.norm import add_rms_norm
from pagoda_server.kernels.sum_norm import Exchange, count_bytes, sum_rms_norm

HIDDEN = 40
TOKENS = [3, 1, 5, 2, 1, 1, 4, 3, 5, 1] * 2


def draw(rank: int, step: int, num_tokens: int) -> Tensor:
    return torch.randn((num_tokens, HIDDEN), generator=torch.Generator().manual_seed(1000 * step + rank))


def main(folder: Path, ranks: int, rank: int) -> None:
    size = count_bytes(ranks, max(TOKENS) * HIDDEN * 4)
    memories = [
        torch.from_file(str(folder / f"rank-{one}"), shared=True, size=size, dtype=torch.uint8) for one in range(ranks)
    ]
    exchange = Exchange(memories[rank], [memory.data_ptr() for memory in memories], rank)
    weight = torch.linspace(0.5, 1.5, HIDDEN)
    for step, num_tokens in enumerate(TOKENS):
        found = torch.ones((num_tokens, HIDDEN))
        expected = found.clone()
        for index in range(2):
            shares = exchange.shares(found, index)
            assert shares is not None
            shares.own.copy_(draw(rank, 2 * step + index, num_tokens))
            normed = sum_rms_norm(shares, found, weight, 1e-5)
            total = draw(0, 2 * step + index, num_tokens)
            for one in range(1, ranks):
                total += draw(one, 2 * step + index, num_tokens)
            assert torch.equal(normed, add_rms_norm(total, expected, weight, 1e-5)), (step, index)
            assert torch.equal(found, expected), (step, index)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
