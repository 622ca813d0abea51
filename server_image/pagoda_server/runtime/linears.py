"""The projections of a decoder, each by one of several ways: cuBLAS, or at small batches our kernels.

Ways differ in how much they do in one launch. What is between two projections is the residual stream: a way that does
not add to it itself leaves the sum to the next norm. Which way is fastest is measured (`measure_linears.py`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import torch.nn.functional as F
from torch import Tensor, nn

from pagoda_server.kernels.activation import silu_mul, silu_mul_fp8
from pagoda_server.kernels.fp8 import quantize_tokens
from pagoda_server.kernels.gemv import GemvTile, gemv
from pagoda_server.kernels.invariant_linear import invariant_linear
from pagoda_server.kernels.linear import LinearScratch, LinearTile, linear, linear_fp8
from pagoda_server.kernels.norm import add_rms_norm, add_rms_norm_fp8, rms_norm, rms_norm_fp8
from pagoda_server.quant.fp8 import Fp8Linear

Quantized = tuple[Tensor, Tensor]
"""e4m3 values [T, K] and a scale a token [T, 1]."""


@dataclass(slots=True)
class Stream:
    """The residual stream [T, hidden] of a pass."""

    total: Tensor
    pending: Tensor | None = None
    """[T, hidden]: belongs to the total and is not added yet."""

    def norm(self, weight: Tensor, eps: float) -> Tensor:
        """Of the whole stream, which adds what is pending."""
        pending, self.pending = self.pending, None
        return rms_norm(self.total, weight, eps) if pending is None else add_rms_norm(pending, self.total, weight, eps)

    def norm_fp8(self, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
        """The same norm as e4m3 values and a scale a token."""
        pending, self.pending = self.pending, None
        if pending is None:
            return rms_norm_fp8(self.total, weight, eps)
        return add_rms_norm_fp8(pending, self.total, weight, eps)

    def settle(self) -> Tensor:
        """The total with nothing pending."""
        if self.pending is not None:
            self.total.add_(self.pending)
            self.pending = None
        return self.total


class Way(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def adds(self) -> bool:
        """Whether `write` adds to the stream's total itself. NB: of a shard the total is not known yet."""

    def read(self, stream: Stream, norm: Tensor, eps: float, projection: nn.Linear) -> Tensor:
        """The projection of the stream's norm."""

    def read_gated(self, stream: Stream, norm: Tensor, eps: float, projection: nn.Linear) -> Tensor:
        """silu(gate) * up of that projection, which gives gates, then ups."""

    def write(self, x: Tensor, projection: nn.Linear, stream: Stream) -> None:
        """The stream grows by the projection of x."""


@dataclass(frozen=True, slots=True)
class Separate:
    """The product alone, with the norm and the activation as kernels around it. For any number of tokens."""

    name: str
    project: Callable[[Tensor, Tensor, Tensor | None], Tensor]
    """x [T, K], weight [N, K] and bias [N] → [T, N]."""
    adds: ClassVar[bool] = False

    def read(self, stream: Stream, norm: Tensor, eps: float, projection: nn.Linear) -> Tensor:
        return self.project(stream.norm(norm, eps), projection.weight, projection.bias)

    def read_gated(self, stream: Stream, norm: Tensor, eps: float, projection: nn.Linear) -> Tensor:
        return silu_mul(self.read(stream, norm, eps, projection))

    def write(self, x: Tensor, projection: nn.Linear, stream: Stream) -> None:
        stream.settle()
        stream.pending = self.project(x, projection.weight, projection.bias)


def multiply_fp8(x: Tensor | Quantized, projection: Fp8Linear) -> Tensor:
    """cuBLAS's product."""
    product: Tensor = projection(x)
    return product


def multiply_tiled_fp8(
    x: Tensor | Quantized, projection: Fp8Linear, tile: LinearTile, scratch: LinearScratch
) -> Tensor:
    """For up to 64 tokens, where cuBLAS has no tile that is narrow enough."""
    values, scales = quantize_tokens(x) if isinstance(x, Tensor) else x
    scaled = (values, scales, projection.weight, projection.weight_scale, tile, scratch)
    return linear_fp8(*scaled, bias=projection.bias, dtype=projection.dtype)


@dataclass(frozen=True, slots=True)
class Fp8:
    """For `Fp8Linear`: the kernels around a product quantize what goes into it."""

    name: str
    multiply: Callable[[Tensor | Quantized, Any], Tensor]
    """Of x [T, K], or of what it is quantized, and an `Fp8Linear`."""
    adds: ClassVar[bool] = False

    def read(self, stream: Stream, norm: Tensor, eps: float, projection: nn.Module) -> Tensor:
        return self.multiply(stream.norm_fp8(norm, eps), projection)

    def read_gated(self, stream: Stream, norm: Tensor, eps: float, projection: nn.Module) -> Any:
        """Quantized, for `write`."""
        return silu_mul_fp8(self.read(stream, norm, eps, projection))

    def write(self, x: Tensor | Quantized, projection: nn.Module, stream: Stream) -> None:
        stream.settle()
        stream.pending = self.multiply(x, projection)


@dataclass(frozen=True, slots=True)
class Gemv:
    """One token: norm, product and activation, or product and sum, in one launch."""

    tile: GemvTile
    adds: ClassVar[bool] = True

    @property
    def name(self) -> str:
        return f"gemv {self.tile.rows}x{self.tile.values}"

    def read(self, stream: Stream, norm: Tensor, eps: float, projection: nn.Linear) -> Tensor:
        return gemv(stream.settle(), projection.weight, self.tile, bias=projection.bias, norm=norm, eps=eps)

    def read_gated(self, stream: Stream, norm: Tensor, eps: float, projection: nn.Linear) -> Tensor:
        x, weight, bias = stream.settle(), projection.weight, projection.bias
        return gemv(x, weight, self.tile, bias=bias, norm=norm, eps=eps, gated=True)

    def write(self, x: Tensor, projection: nn.Linear, stream: Stream) -> None:
        gemv(x, projection.weight, self.tile, bias=projection.bias, residual=stream.settle())


@dataclass(frozen=True, slots=True)
class Tiled:
    """Up to 64 tokens: product and activation, or product and sum, in one launch; the norm is its own."""

    tile: LinearTile
    scratch: LinearScratch = field(repr=False, compare=False)
    adds: ClassVar[bool] = True

    @property
    def name(self) -> str:
        return f"tiled {self.tile.rows}x{self.tile.values}"

    def read(self, stream: Stream, norm: Tensor, eps: float, projection: nn.Linear) -> Tensor:
        x = stream.norm(norm, eps)
        return linear(x, projection.weight, self.tile, self.scratch, bias=projection.bias)

    def read_gated(self, stream: Stream, norm: Tensor, eps: float, projection: nn.Linear) -> Tensor:
        x = stream.norm(norm, eps)
        return linear(x, projection.weight, self.tile, self.scratch, bias=projection.bias, gated=True)

    def write(self, x: Tensor, projection: nn.Linear, stream: Stream) -> None:
        total = stream.settle()
        linear(x, projection.weight, self.tile, self.scratch, bias=projection.bias, residual=total)


TORCH, INVARIANT, FP8 = Separate("torch", F.linear), Separate("invariant", invariant_linear), Fp8("fp8", multiply_fp8)


@dataclass(frozen=True, slots=True)
class Ways:
    """How each projection of a layer is done. The fields are named as the layer's projections."""

    qkv: Way = TORCH
    output: Way = TORCH
    gate_up: Way = TORCH
    down: Way = TORCH


ALL_TORCH, ALL_FP8 = Ways(), Ways(FP8, FP8, FP8, FP8)
ALL_INVARIANT = Ways(INVARIANT, INVARIANT, INVARIANT, INVARIANT)


@dataclass(frozen=True, slots=True)
class LinearPlan:
    """By how many tokens a pass has: the ways of the next larger size, `otherwise` above the largest."""

    ways: Mapping[int, Ways] = field(default_factory=dict)
    otherwise: Ways = ALL_TORCH

    def ways_for(self, num_tokens: int) -> Ways:
        sizes = [size for size in self.ways if size >= num_tokens]
        return self.ways[min(sizes)] if sizes else self.otherwise
