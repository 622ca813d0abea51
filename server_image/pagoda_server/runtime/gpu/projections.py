"""The projections of a decoder, each by one of several backends: cuBLAS, or at small batches our kernels.

Backends differ in how much they do in one launch. What is between two projections is the residual stream: a backend
that does not add to it itself leaves the sum to the next norm. Which backend is fastest is measured at start
(`start/measure_projections.py`). Of a shard, what a projection adds is one rank's share; the stream sums those of all,
so backends that add are for a model alone.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pagoda_server.kernels.activation import silu_mul, silu_mul_fp8
from pagoda_server.kernels.fp8 import quantize_tokens
from pagoda_server.kernels.gemv import GemvTile, gemv
from pagoda_server.kernels.invariant_linear import invariant_linear
from pagoda_server.kernels.linear import LinearScratch, LinearTile, linear, linear_fp8
from pagoda_server.kernels.norm import add_rms_norm, add_rms_norm_fp8, rms_norm, rms_norm_fp8
from pagoda_server.kernels.sum_norm import Shares, sum_rms_norm, sum_rms_norm_fp8
from pagoda_server.model.shard import ALONE, Group
from pagoda_server.quant.fp8 import Fp8Linear

Quantized = tuple[Tensor, Tensor]
"""e4m3 values [T, K] and a scale per token [T, 1]."""


@dataclass(slots=True)
class ResidualStream:
    """The residual stream [T, hidden] of a pass."""

    total: Tensor
    pending: Tensor | Shares | None = None
    """[T, hidden]: belongs to the total and is not added yet."""
    group: Group = ALONE
    num_sums: int = 0
    """Over the ranks, in this pass."""

    def norm(self, weight: Tensor, eps: float) -> Tensor:
        """Returns the norm of the whole stream, to which it adds what is pending."""
        pending, self.pending = self.pending, None
        if isinstance(pending, Shares):
            return sum_rms_norm(pending, self.total, weight, eps)
        return rms_norm(self.total, weight, eps) if pending is None else add_rms_norm(pending, self.total, weight, eps)

    def norm_fp8(self, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
        """Returns the same norm as e4m3 values and a scale per token."""
        pending, self.pending = self.pending, None
        if pending is None:
            return rms_norm_fp8(self.total, weight, eps)
        if isinstance(pending, Shares):
            return sum_rms_norm_fp8(pending, self.total, weight, eps)
        return add_rms_norm_fp8(pending, self.total, weight, eps)

    def take(self, tokens: Tensor) -> "ResidualStream":
        """Returns the stream of `tokens` [S] int32 alone, which goes on in place of this one."""
        return replace(self, total=self.settle().index_select(0, tokens))

    def settle(self) -> Tensor:
        """Returns the total with nothing pending."""
        assert not isinstance(self.pending, Shares), "a sum over the ranks is added by the norm after it"
        if self.pending is not None:
            self.total.add_(self.pending)
            self.pending = None
        return self.total

    def add(self, project: Callable[[Tensor | None], Tensor]) -> None:
        """Makes pending what `project` returns, over all ranks. It writes to the tensor that it is given, if any."""
        self.settle()
        shares = self.group.shares(self.total, self.num_sums)
        self.num_sums += 1
        share = project(None if shares is None else shares.own)
        self.pending = self.group.sum(share) if shares is None else shares


class ProjectionBackend(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def adds(self) -> bool:
        """Returns whether `write` adds to the stream's total itself. NB: of a shard the total is not known yet."""

    def read(self, stream: ResidualStream, norm: Tensor, eps: float, projection: nn.Linear) -> Tensor:
        """Returns the projection of the stream's norm."""

    def read_gated(self, stream: ResidualStream, norm: Tensor, eps: float, projection: nn.Linear) -> Tensor:
        """Returns silu(gate) * up of that projection, which gives gates, then ups."""

    def write(self, x: Tensor, projection: nn.Linear, stream: ResidualStream) -> None:
        """Adds the projection of x to the stream."""


@dataclass(frozen=True, slots=True)
class SeparateBackend:
    """The product alone, with the norm and the activation as kernels around it. For any number of tokens."""

    name: str
    project: Callable[[Tensor, Tensor, Tensor | None, Tensor | None], Tensor]
    """x [T, K], weight [N, K] and bias [N] → [T, N], in the tensor given last if there is one."""
    adds: ClassVar[bool] = False

    def read(self, stream: ResidualStream, norm: Tensor, eps: float, projection: nn.Linear) -> Tensor:
        return self.project(stream.norm(norm, eps), projection.weight, projection.bias, None)

    def read_gated(self, stream: ResidualStream, norm: Tensor, eps: float, projection: nn.Linear) -> Tensor:
        return silu_mul(self.read(stream, norm, eps, projection))

    def write(self, x: Tensor, projection: nn.Linear, stream: ResidualStream) -> None:
        stream.add(lambda out: self.project(x, projection.weight, projection.bias, out))


def multiply_fp8(x: Tensor | Quantized, projection: Fp8Linear, out: Tensor | None) -> Tensor:
    """Multiplies by cuBLAS, for any number of tokens."""
    product: Tensor = projection(x, out)
    return product


def multiply_tiled_fp8(
    x: Tensor | Quantized, projection: Fp8Linear, out: Tensor | None, tile: LinearTile, scratch: LinearScratch
) -> Tensor:
    """Multiplies up to 64 tokens, for which cuBLAS has no tile that is narrow enough."""
    values, scales = quantize_tokens(x) if isinstance(x, Tensor) else x
    scaled = (values, scales, projection.weight, projection.weight_scale, tile, scratch)
    return linear_fp8(*scaled, bias=projection.bias, dtype=projection.dtype, out=out)


@dataclass(frozen=True, slots=True)
class Fp8Backend:
    """For `Fp8Linear`: the kernels around a product quantize what goes into it."""

    name: str
    multiply: Callable[[Tensor | Quantized, Any, Tensor | None], Tensor]
    """Multiplies x [T, K], plain or quantized, by an `Fp8Linear`, into the tensor given last if there is one."""
    adds: ClassVar[bool] = False

    def read(self, stream: ResidualStream, norm: Tensor, eps: float, projection: nn.Module) -> Tensor:
        return self.multiply(stream.norm_fp8(norm, eps), projection, None)

    def read_gated(self, stream: ResidualStream, norm: Tensor, eps: float, projection: nn.Module) -> Any:
        """Returns it quantized, for `write`."""
        return silu_mul_fp8(self.read(stream, norm, eps, projection))

    def write(self, x: Tensor | Quantized, projection: nn.Module, stream: ResidualStream) -> None:
        stream.add(lambda out: self.multiply(x, projection, out))


@dataclass(frozen=True, slots=True)
class GemvBackend:
    """One token: norm, product and activation, or product and sum, in one launch."""

    tile: GemvTile
    adds: ClassVar[bool] = True

    @property
    def name(self) -> str:
        return f"gemv {self.tile.rows}x{self.tile.values}"

    def read(self, stream: ResidualStream, norm: Tensor, eps: float, projection: nn.Linear) -> Tensor:
        return gemv(stream.settle(), projection.weight, self.tile, bias=projection.bias, norm=norm, eps=eps)

    def read_gated(self, stream: ResidualStream, norm: Tensor, eps: float, projection: nn.Linear) -> Tensor:
        x, weight, bias = stream.settle(), projection.weight, projection.bias
        return gemv(x, weight, self.tile, bias=bias, norm=norm, eps=eps, gated=True)

    def write(self, x: Tensor, projection: nn.Linear, stream: ResidualStream) -> None:
        gemv(x, projection.weight, self.tile, bias=projection.bias, residual=stream.settle())


@dataclass(frozen=True, slots=True)
class TiledBackend:
    """Up to 64 tokens: product and activation in one launch; the norm is its own."""

    tile: LinearTile
    scratch: LinearScratch = field(repr=False, compare=False)
    adds: ClassVar[bool] = False

    @property
    def name(self) -> str:
        return f"tiled {self.tile.rows}x{self.tile.values}"

    def read(self, stream: ResidualStream, norm: Tensor, eps: float, projection: nn.Linear) -> Tensor:
        x = stream.norm(norm, eps)
        return linear(x, projection.weight, self.tile, self.scratch, bias=projection.bias)

    def read_gated(self, stream: ResidualStream, norm: Tensor, eps: float, projection: nn.Linear) -> Tensor:
        x = stream.norm(norm, eps)
        return linear(x, projection.weight, self.tile, self.scratch, bias=projection.bias, gated=True)

    def write(self, x: Tensor, projection: nn.Linear, stream: ResidualStream) -> None:
        weight, bias = projection.weight, projection.bias
        stream.add(lambda out: linear(x, weight, self.tile, self.scratch, bias=bias, out=out))


def torch_linear(x: Tensor, weight: Tensor, bias: Tensor | None, out: Tensor | None) -> Tensor:
    """Computes `F.linear`, which itself cannot be told where to write."""
    if out is None:
        return F.linear(x, weight, bias)
    return torch.mm(x, weight.t(), out=out) if bias is None else torch.addmm(bias, x, weight.t(), out=out)


TORCH, INVARIANT = SeparateBackend("torch", torch_linear), SeparateBackend("invariant", invariant_linear)
FP8 = Fp8Backend("fp8", multiply_fp8)


@dataclass(frozen=True, slots=True)
class LayerBackends:
    """The backend of each projection of a layer. The fields are named as the layer's projections."""

    qkv: ProjectionBackend = TORCH
    output: ProjectionBackend = TORCH
    gate_up: ProjectionBackend = TORCH
    down: ProjectionBackend = TORCH


ALL_TORCH, ALL_FP8 = LayerBackends(), LayerBackends(FP8, FP8, FP8, FP8)
ALL_INVARIANT = LayerBackends(INVARIANT, INVARIANT, INVARIANT, INVARIANT)


@dataclass(frozen=True, slots=True)
class ProjectionPlan:
    """The backends of a pass by its number of tokens: those of the next larger size, `otherwise` above the largest."""

    backends: Mapping[int, LayerBackends] = field(default_factory=dict)
    otherwise: LayerBackends = ALL_TORCH

    def backends_for(self, num_tokens: int) -> LayerBackends:
        sizes = [size for size in self.backends if size >= num_tokens]
        return self.backends[min(sizes)] if sizes else self.otherwise
