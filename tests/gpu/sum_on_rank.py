"""`sum_on_rank.py RANK SIZE STORE`: one of the ranks of `test_tensor_parallel.py`; ends with 0 when sums are right."""

import sys
from pathlib import Path

import torch

from pagoda_server.model.shard import Group, Shard
from pagoda_server.parallel.group import ONE_SHOT_BYTES, OneShotGroup, join_group, leave_group

HIDDEN = 4096


def check(group: Group, shard: Shard, num_tokens: int, device: torch.device) -> None:
    """Small whole numbers, so that every order of adding gives the same; then normal ones, the same bits on each."""
    share = torch.full((num_tokens, HIDDEN), float(shard.rank + 1), device=device, dtype=torch.bfloat16)
    share += torch.arange(HIDDEN, device=device) % 7
    expected = shard.size * (torch.arange(HIDDEN, device=device) % 7) + shard.size * (shard.size + 1) / 2
    assert torch.equal(group.sum(share.clone()).float(), expected.expand(num_tokens, HIDDEN))
    torch.manual_seed(shard.rank)
    total = group.sum(torch.randn(num_tokens, HIDDEN, device=device).bfloat16())
    everyones = group.gather(total)
    assert everyones.shape == (shard.size, num_tokens, HIDDEN)
    assert all(torch.equal(one, total) for one in everyones)


def check_graph(group: Group, shard: Shard, device: torch.device) -> None:
    """A chain of sums of both kinds, replayed on new inputs."""
    small, large = (torch.zeros(num_tokens, HIDDEN, device=device, dtype=torch.bfloat16) for num_tokens in (4, 512))

    def run() -> tuple[torch.Tensor, torch.Tensor]:
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


def main(rank: int, size: int, store: Path) -> None:
    shard, device = Shard(rank, size), torch.device("cuda", rank)
    torch.cuda.set_device(device)
    group = join_group(shard, device, torch.bfloat16, store)
    print(f"rank={rank} group={type(group).__name__}")
    largest = ONE_SHOT_BYTES // size // 2 // HIDDEN
    for num_tokens in (1, 3, 64, largest, largest + 1, 2048):
        check(group, shard, num_tokens, device)
    if isinstance(group, OneShotGroup):
        check(group._otherwise, shard, 64, device)
    check_graph(group, shard, device)
    torch.cuda.synchronize()
    leave_group(orderly=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
