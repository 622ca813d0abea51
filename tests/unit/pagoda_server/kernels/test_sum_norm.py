"""The sum over ranks and the norm after it are one sum and one norm. Ranks that meet are real processes."""

import os
import subprocess
import sys
from pathlib import Path
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from pagoda_server.kernels.norm import add_rms_norm, add_rms_norm_fp8
from pagoda_server.kernels.sum_norm import MAX_TOKENS, Exchange, Shares, count_bytes, sum_rms_norm, sum_rms_norm_fp8
from pagoda_server.parallel.group import TorchGroup
from pagoda_server.quant.fp8 import Fp8Linear, replace_linears
from pagoda_server.runtime.gpu.projections import FP8, INVARIANT, TORCH, ProjectionBackend, ResidualStream

SCRIPT = Path(__file__).with_name("sum_norm_on_rank.py")
EPS = 1e-5
DTYPES = [torch.float32, torch.float16]  # the interpreter cuts a bfloat16 off; tests/gpu has it


def open_exchanges(ranks: int, share_bytes: int, device: torch.device) -> list[Exchange]:
    """Builds ranks that need not wait for each other: all have come to every program before."""
    size = count_bytes(ranks, share_bytes)
    memories = [torch.zeros(size + 128, dtype=torch.uint8, device=device) for _ in range(ranks)]
    memories = [memory[-memory.data_ptr() % 128 :][:size] for memory in memories]
    for rank, memory in enumerate(memories):
        signals = memory[: MAX_TOKENS * ranks * 8].view(torch.int64).view(MAX_TOKENS, ranks)
        signals.fill_(1 << 40)
        signals[:, rank] = 0
    return [Exchange(memory, [one.data_ptr() for one in memories], rank) for rank, memory in enumerate(memories)]


def fill(exchanges: list[Exchange], like: Tensor, index: int) -> tuple[list[Shares], Tensor]:
    """Returns the shares of all ranks, and their sum in order."""
    filled = [shares for exchange in exchanges if (shares := exchange.shares(like, index)) is not None]
    assert len(filled) == len(exchanges)
    total = torch.zeros_like(like, dtype=torch.float32)
    for one in filled:
        one.own.copy_(torch.randn(like.shape, device=like.device))
        total += one.own.float()
    return filled, total.to(like.dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("ranks", "hidden"), [(1, 64), (2, 100), (3, 64)])
def test_every_rank_has_the_bits_of_a_sum_and_a_norm(
    ranks: int, hidden: int, dtype: torch.dtype, device: torch.device
) -> None:
    residual, weight = torch.randn((3, hidden), device=device).to(dtype), torch.randn(hidden, device=device).to(dtype)
    exchanges = open_exchanges(ranks, residual.nbytes, device)
    for index in range(3):
        shares, total = fill(exchanges, residual, index)
        expected = residual.clone()
        normed = add_rms_norm(total, expected, weight, EPS)
        for own in shares:
            found = residual.clone()
            assert torch.equal(sum_rms_norm(own, found, weight, EPS), normed)
            assert torch.equal(found, expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_in_fp8_it_is_the_norm_in_fp8(dtype: torch.dtype, device: torch.device) -> None:
    residual, weight = torch.randn((2, 100), device=device).to(dtype), torch.randn(100, device=device).to(dtype)
    shares, total = fill(open_exchanges(2, residual.nbytes, device), residual, 1)
    expected = residual.clone()
    normed = add_rms_norm_fp8(total, expected, weight, EPS)
    values, scales = sum_rms_norm_fp8(shares[0], residual, weight, EPS)
    assert torch.equal(residual, expected) and torch.equal(scales, normed[1])
    assert torch.equal(values.view(torch.uint8), normed[0].view(torch.uint8))


class ExchangeGroup(TorchGroup):
    """One rank, whose sums must all be of the kernel."""

    def __init__(self, share_bytes: int, device: torch.device) -> None:
        super().__init__(1)
        self.exchange = open_exchanges(1, share_bytes, device)[0]

    def shares(self, like: Tensor, index: int) -> Shares | None:
        return self.exchange.shares(like, index)


def build_projection(backend: ProjectionBackend, bias: bool, device: torch.device) -> nn.Linear:
    projection: nn.Module = nn.Linear(48, 64, bias=bias, device=device)
    if backend is FP8:
        holder = nn.Sequential(projection)
        replace_linears(holder)
        projection = holder[0].to(device)
        assert isinstance(projection, Fp8Linear)
        projection.weight.copy_(torch.randn(64, 48))
        projection.weight_scale.fill_(0.1)
    return cast(nn.Linear, projection)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("backend", [TORCH, INVARIANT, FP8], ids=lambda backend: backend.name)
@torch.inference_mode()
def test_a_projection_writes_its_share_in_place_and_the_norm_adds_it(
    backend: ProjectionBackend, bias: bool, device: torch.device
) -> None:
    group, total, weight = ExchangeGroup(4096, device), torch.randn((3, 64), device=device), torch.rand(64).to(device)
    divided, alone = ResidualStream(total.clone(), group=group), ResidualStream(total.clone())
    places = []
    for _ in range(2):
        x, projection = torch.randn((3, 48), device=device), build_projection(backend, bias, device)
        for stream in (divided, alone):
            backend.write(x, projection, stream)
        assert isinstance(divided.pending, Shares) and isinstance(alone.pending, Tensor)
        assert torch.equal(divided.pending.own, alone.pending)
        places.append(divided.pending.own.data_ptr())
        if backend is FP8:
            found, expected = divided.norm_fp8(weight, EPS)[0].float(), alone.norm_fp8(weight, EPS)[0].float()
        else:
            found, expected = divided.norm(weight, EPS), alone.norm(weight, EPS)
        assert torch.equal(found, expected) and torch.equal(divided.total, alone.total)
    assert len(set(places)) == 2


def test_two_sums_in_a_row_have_different_places_and_large_ones_none(device: torch.device) -> None:
    like = torch.zeros((4, 100), dtype=torch.float16, device=device)
    exchange = open_exchanges(2, like.nbytes, device)[0]
    places = [exchange.shares(like, index) for index in range(4)]
    spans = [range(one.own.data_ptr(), one.own.data_ptr() + one.own.nbytes) for one in places if one is not None]
    assert spans[0] == spans[2] and spans[1] == spans[3]
    assert spans[0].stop <= spans[1].start
    assert exchange.shares(like.new_zeros((5, 100)), 0) is None
    assert exchange.shares(like.new_zeros((MAX_TOKENS + 1, 1)), 0) is None


def test_memory_that_is_not_this_ranks_is_refused(device: torch.device) -> None:
    memory = torch.zeros(count_bytes(2, 256), dtype=torch.uint8, device=device)
    with pytest.raises(ValueError, match="give it as that of rank 1"):
        Exchange(memory, [memory.data_ptr(), memory.data_ptr() + 128], 1)


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_of_real_processes_wait_for_each_other(ranks: int, tmp_path: Path) -> None:
    """In the interpreter, over memory of files that all have mapped."""
    environment = os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    command = [sys.executable, str(SCRIPT), str(tmp_path), str(ranks)]
    processes = [subprocess.Popen([*command, str(rank)], env=environment) for rank in range(ranks)]
    try:
        assert [process.wait(120) for process in processes] == [0] * ranks
    finally:
        for process in processes:
            process.kill()
            process.wait()
