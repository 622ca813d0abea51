"""`sum_on_rank.py RANK SIZE STORE`: one of the ranks of `test_tensor_parallel.py`; ends with 0 when sums are right."""

import random
import sys
from pathlib import Path

import torch
from torch import Tensor

from pagoda_server.kernels.norm import add_rms_norm, add_rms_norm_fp8
from pagoda_server.kernels.sum_norm import sum_rms_norm, sum_rms_norm_fp8
from pagoda_server.model.shard import Group, Shard
from pagoda_server.parallel.group import ONE_SHOT_BYTES, OneShotGroup, join_group, leave_group

HIDDEN, EPS = 4096, 1e-5
DTYPES = (torch.bfloat16, torch.float16, torch.float32)
REPLAYS = 2000


def check(group: Group, shard: Shard, num_tokens: int, device: torch.device) -> None:
    """Small whole numbers, so that every order of adding gives the same; then normal ones, the same bits on each."""
    share = torch.full((num_tokens, HIDDEN), float(shard.rank + 1), device=device, dtype=torch.bfloat16)
    share += torch.arange(HIDDEN, device=device) % 7
    expected = shard.size * (torch.arange(HIDDEN, device=device) % 7) + shard.size * (shard.size + 1) / 2
    assert torch.equal(group.sum(share.clone()).float(), expected.expand(num_tokens, HIDDEN))
    torch.manual_seed(shard.rank)
    total = group.sum(torch.randn(num_tokens, HIDDEN, device=device).bfloat16())
    assert group.gather(total).shape == (shard.size, num_tokens, HIDDEN)
    check_same(group, total)


def check_same(group: Group, x: Tensor) -> None:
    assert all(torch.equal(one, x) for one in group.gather(x))


def check_graph(group: Group, shard: Shard, device: torch.device) -> None:
    """A chain of NCCL's sums, replayed on new inputs."""
    small, large = (torch.zeros(num_tokens, HIDDEN, device=device, dtype=torch.bfloat16) for num_tokens in (4, 512))

    def run() -> tuple[Tensor, Tensor]:
        total = small
        for _ in range(3):
            total = group.sum(total + 0)
        return total, group.sum(large + 0)

    run()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        totals = run()
    for value in (1.0, 2.0, 3.0):
        small.fill_(value)
        large.fill_(value)
        graph.replay()
        assert torch.equal(totals[0], torch.full_like(small, value * shard.size**3))
        assert torch.equal(totals[1], torch.full_like(large, value * shard.size))


def add_up(group: Group, share: Tensor) -> Tensor:
    """By NCCL, in the order of the ranks."""
    first, *others = group.gather(share)
    total: Tensor = first.float()
    for other in others:
        total += other.float()
    return total.to(share.dtype)


def check_sum_norm(group: Group, shard: Shard, num_tokens: int, hidden: int, like: Tensor) -> None:
    """Two sums, for both buffers, beside NCCL and the norm's own kernel: the same bits, on all ranks."""
    residual, weight = like.new_ones((num_tokens, hidden)), torch.linspace(0.5, 1.5, hidden).to(like)
    torch.manual_seed(shard.rank)
    for index in range(2):
        share = torch.randn(num_tokens, hidden).to(like)
        shares, found, expected = group.shares(residual, index), residual.clone(), residual.clone()
        assert shares is not None, (num_tokens, hidden, like.dtype)
        shares.own.copy_(share)
        if index and like.dtype == torch.bfloat16:
            values, scales = sum_rms_norm_fp8(shares, found, weight, EPS)
            wanted_values, wanted_scales = add_rms_norm_fp8(add_up(group, share), expected, weight, EPS)
            assert torch.equal(values.float(), wanted_values.float()) and torch.equal(scales, wanted_scales)
        else:
            normed = sum_rms_norm(shares, found, weight, EPS)
            assert torch.equal(normed, add_rms_norm(add_up(group, share), expected, weight, EPS))
            check_same(group, normed)
        assert torch.equal(found, expected)
        check_same(group, found)


class Pass:
    """A few sums in a row as a CUDA graph, on one of two inputs, so that shares of the replay before are wrong ones."""

    def __init__(self, group: Group, shard: Shard, num_tokens: int, num_sums: int, device: torch.device) -> None:
        self.group, self.num_sums = group, num_sums
        torch.manual_seed(0)
        self.weight = torch.randn(HIDDEN, device=device).bfloat16()
        torch.manual_seed(1 + shard.rank)
        self.factor = torch.randn(HIDDEN, device=device).bfloat16()
        self.inputs = torch.randn((2, num_tokens, HIDDEN), device=device).bfloat16()
        self.x = self.inputs[0].clone()
        self.expected = [self._run(one, fused=False) for one in self.inputs]
        self._run(self.x, fused=True)
        torch.cuda.synchronize()
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.found = self._run(self.x, fused=True)

    def _run(self, x: Tensor, *, fused: bool) -> Tensor:
        """The last norm and the total, [2, T, hidden]."""
        total = torch.ones_like(x)
        for index in range(self.num_sums):
            shares = self.group.shares(total, index)
            assert shares is not None
            if fused:
                torch.mul(x, self.factor, out=shares.own)
                x = sum_rms_norm(shares, total, self.weight, EPS)
            else:
                x = add_rms_norm(add_up(self.group, x * self.factor), total, self.weight, EPS)
        return torch.stack((x, total))

    def count_wrong(self, which: int, *, replay: bool) -> Tensor:
        """Values that are not the expected ones, without waiting for the GPU. It may run the pass without the graph."""
        self.x.copy_(self.inputs[which])
        if replay:
            self.graph.replay()
        found = self.found if replay else self._run(self.x, fused=True)
        return (found != self.expected[which]).sum()


def check_passes(group: Group, shard: Shard, device: torch.device) -> None:
    """Graphs of several sizes and passes without one in any order, NCCL's sums between them, ranks that come late."""
    shapes = [(1, 4), (3, 2), (64, 8), (128, 2), (17, 6)]
    passes = [Pass(group, shard, num_tokens, num_sums, device) for num_tokens, num_sums in shapes]
    large = torch.ones((512, HIDDEN), device=device)
    choose, wrong = random.Random(0), torch.zeros((), dtype=torch.int64, device=device)
    for _ in range(REPLAYS):
        one, which, late, kind = (choose.randrange(n) for n in (len(passes), 2, 3 * shard.size, 16))
        if late == shard.rank:
            torch.cuda._sleep(50_000)
        wrong += passes[one].count_wrong(which, replay=kind > 0)
        if kind == 1:
            wrong += (group.sum(large.clone()) != shard.size).sum()
    assert int(wrong) == 0, int(wrong)


def main(rank: int, size: int, store: Path) -> None:
    shard, device = Shard(rank, size), torch.device("cuda", rank)
    torch.cuda.set_device(device)
    group = join_group(shard, device, store)
    print(f"rank={rank} group={type(group).__name__}")
    for num_tokens in (1, 3, 64, 2048):
        check(group, shard, num_tokens, device)
    check_graph(group, shard, device)
    assert isinstance(group, OneShotGroup), "the GPUs cannot map each other's memory"
    for dtype in DTYPES:
        like, largest = torch.empty(0, dtype=dtype, device=device), ONE_SHOT_BYTES // size // dtype.itemsize // HIDDEN
        for num_tokens, hidden in ((1, HIDDEN), (3, HIDDEN), (largest, HIDDEN), (129, 1000), (64, 36)):
            check_sum_norm(group, shard, num_tokens, hidden, like)
        assert group.shares(like.new_empty((largest + 1, HIDDEN)), 0) is None
    check_passes(group, shard, device)
    torch.cuda.synchronize()
    leave_group(orderly=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
