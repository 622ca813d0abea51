"""Kernels compile for the GPU they are made for, on machines without one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pagoda_server.kernels.decode_plan import choose_programs_per_sm
from pagoda_server.kernels.linear import FP8_TILES, TILES, LinearTile

SCRIPT = Path(__file__).parent / "compile_for_hopper.py"
HOPPER_SHARED_BYTES = 232_448
SM_SHARED_BYTES, RESERVED_BYTES = 233_472, 1024
"""An SM's shared memory, and what the driver keeps of it for each program."""
SM_REGISTERS = 65_536
HALF_SHARED_BYTES = 115_712
"""What a program may use if two run at once."""
KERNELS = {
    "activation._silu_mul_fp8_kernel",
    "activation._silu_mul_kernel",
    "adjust._adjust_kernel",
    "adjust._settle_kernel",
    "decode_attention._decode_kernel",
    "decode_plan._plan_kernel",
    "fp8._quantize_kernel",
    "gemv._gemv_kernel",
    "invariant_linear._invariant_kernel",
    "linear._linear_kernel",
    "logprobs._measure_kernel",
    "logprobs._rank_kernel",
    "norm._norm_kernel",
    "prefill_attention._prefill_kernel",
    "prepare._append_kernel",
    "prepare._length_kernel",
    "prepare._prepare_kernel",
    "rope_write._rope_kernel",
    "sampler._scan_kernel",
    "sampler_choose.choose_kernel",
    "sum_norm._sum_norm_kernel",
}
LARGEST_TILE_BYTES = max(
    tile.count_shared_bytes(tokens, 2, gated=True) for tokens, tiles in TILES.items() for tile in tiles
)
STREAMING = {"gemv._gemv_kernel", "linear._linear_kernel"}
"""Bound by memory: their loads are of 16 bytes a thread."""
READING_OTHERS = "sum_norm._sum_norm_kernel"
"""By addresses of which Triton must be told how they are aligned: its loads of 16 bytes a thread go over NVLink."""


def test_kernels_fit_hopper_without_spilling(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment |= {"TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    compiled = [json.loads(line) for line in done.stdout.splitlines()]
    assert {one["kernel"] for one in compiled} == KERNELS
    assert {one["kernel"] for one in compiled if one["tma"]} == {"prefill_attention._prefill_kernel"}
    for one in compiled:
        assert one["shared_bytes"] <= (HALF_SHARED_BYTES if one["tma"] else HOPPER_SHARED_BYTES), one
        assert one["stack_bytes"] == 0, one
        assert one["wgmma"] or one["kernel"] != "prefill_attention._prefill_kernel", one
        assert one["kernel"] != "linear._linear_kernel" or one["shared_bytes"] <= LARGEST_TILE_BYTES, one
        assert one["streams"] or one["kernel"] not in STREAMING, one
        assert one["reads_others"] or one["kernel"] != READING_OTHERS, one
        if one["kernel"] == "decode_attention._decode_kernel":
            assert choose_programs_per_sm(one["head_dim"]) == count_programs_per_sm(one), one


def count_programs_per_sm(compiled: dict[str, int]) -> int:
    """That run at once."""
    by_memory = SM_SHARED_BYTES // (compiled["shared_bytes"] + RESERVED_BYTES)
    return min(by_memory, SM_REGISTERS // compiled["registers"])


@pytest.mark.parametrize(("tiles", "itemsize"), [(TILES, 2), (FP8_TILES, 1)])
def test_an_sm_holds_as_many_tiles_as_are_wanted_on_it(tiles: dict[int, tuple[LinearTile, ...]], itemsize: int) -> None:
    """Or the parts of a weight would take two rounds where they were cut to take one."""
    for tokens, tile in ((tokens, tile) for tokens, ones in tiles.items() for tile in ones):
        shared_bytes = tile.count_shared_bytes(tokens, itemsize, gated=False)
        assert tile.programs * (shared_bytes + RESERVED_BYTES) <= SM_SHARED_BYTES, (tokens, tile)
