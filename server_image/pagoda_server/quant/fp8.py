"""Weights and activations in fp8 (e4m3: 3 bits of mantissa, largest 448), each row with a float32 scale of its own.

A weight has one scale per output channel, made once, an activation one per token, as it comes (Micikevicius et al.,
"FP8 formats for deep learning", 2022; Dettmers et al., "LLM.int8()", 2022, for scales per row and column). On a GPU
the product runs on fp8 tensor cores; elsewhere the same rounded numbers are multiplied in float32: slow, and the
reference.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pagoda_server.kernels.e4m3 import E4M3, LARGEST, SMALLEST_SCALE

ALIGNMENT = 16
"""Both sizes of a weight are multiples of it, or the tensor cores' product refuses them."""


def saturate(x: Tensor) -> Tensor:
    """Converts to e4m3. What is too large becomes 448: torch alone would make it NaN, as the format has no infinity."""
    return x.float().clamp(-LARGEST, LARGEST).to(E4M3)


def quantize_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """Quantizes x [..., K] → values [..., K] e4m3 and scales [..., 1] float32, x ≈ values * scales.

    A row's largest value is ±448.
    """
    wide = x.float()
    scales = (wide.abs().amax(-1, keepdim=True) / LARGEST).clamp(min=SMALLEST_SCALE)
    return saturate(wide / scales), scales


def multiply_scaled(
    values: Tensor,
    scales: Tensor,
    weight: Tensor,
    weight_scale: Tensor,
    bias: Tensor | None,
    out: Tensor | None = None,
) -> Tensor:
    """Multiplies values [T, K] and weight [N, K], both e4m3, by their scales [T, 1] and [N] → [T, N] bf16.

    It runs on CUDA and on the meta device.
    """
    product = torch._scaled_mm(
        values,
        weight.t(),
        scale_a=scales,
        scale_b=weight_scale[None, :],
        out_dtype=torch.bfloat16,
        use_fast_accum=True,
        out=out,
    )
    # NB: not an epilogue of the product: cuBLAS knows no such algorithm for few tokens and long rows.
    return product if bias is None else torch.add(product, bias.to(torch.bfloat16), out=out)


class Fp8Linear(nn.Module):
    """In the place of `nn.Linear`, which it equals but for rounding."""

    def __init__(self, in_features: int, out_features: int, bias: nn.Parameter | None, dtype: torch.dtype) -> None:
        """Makes unset weights on the default device; `dtype` is the activations'."""
        super().__init__()
        for name, size in (("in_features", in_features), ("out_features", out_features)):
            if size % ALIGNMENT:
                raise ValueError(
                    f"quantization is fp8 but a projection's {name} is {size}, not a multiple of {ALIGNMENT}; "
                    "use 'none' for this model"
                )
        self.weight = nn.Parameter(torch.empty(out_features, in_features, dtype=E4M3), requires_grad=False)
        self.weight_scale = nn.Parameter(torch.empty(out_features, dtype=torch.float32), requires_grad=False)
        self.bias = bias
        self.dtype = dtype

    def forward(self, x: Tensor | tuple[Tensor, Tensor], out: Tensor | None = None) -> Tensor:
        """Multiplies x [T, K], or its quantized values [T, K] and scales [T, 1] → [T, N] of the activations' dtype.

        `out` holds it if given.
        """
        values, scales = self._quantize(x) if isinstance(x, Tensor) else x
        if self._is_fast(values):
            place = out if self.dtype == torch.bfloat16 else None
            product = multiply_scaled(values, scales, self.weight, self.weight_scale, self.bias, place)
        else:
            product = F.linear(values.float(), self.weight.float()) * scales * self.weight_scale
            product = product if self.bias is None else product + self.bias
        product = product.to(self.dtype)
        return product if out is None or out is product else out.copy_(product)

    def _quantize(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if not self._is_fast(x):
            return quantize_rows(x)
        from pagoda_server.kernels.fp8 import quantize_tokens  # Triton compiles for a GPU, or is absent

        return quantize_tokens(x)

    def _is_fast(self, x: Tensor) -> bool:
        """Returns whether tensor cores multiply: they give 16 bits. NB: the meta device goes the GPU's way."""
        return x.device.type != "cpu" and self.dtype != torch.float32


def replace_linears(module: nn.Module) -> None:
    """Replaces every `nn.Linear` below by an `Fp8Linear`; embedding, head and norms are none and stay as they are."""
    for name, child in module.named_children():
        if isinstance(child, nn.Linear):
            setattr(module, name, Fp8Linear(child.in_features, child.out_features, child.bias, child.weight.dtype))
        else:
            replace_linears(child)
