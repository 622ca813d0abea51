"""What launchers share, most of all checks: a kernel with a wrong pointer does not fail, it corrupts."""

from collections.abc import Sequence

import torch
from torch import Tensor

from pagoda_server.kernels.e4m3 import E4M3

FLOATS = (torch.bfloat16, torch.float16, torch.float32)
INDICES = (torch.int32, torch.int64)


def check_tensor(name: str, tensor: Tensor, shape: Sequence[int | None], dtypes: Sequence[torch.dtype]) -> None:
    """Raises ValueError unless the tensor is contiguous, of this shape (None: any size) and of one of these dtypes."""
    if tensor.dim() != len(shape) or any(
        want not in (None, size) for want, size in zip(shape, tensor.shape, strict=True)
    ):
        wanted = [("any" if size is None else size) for size in shape]
        raise ValueError(f"{name} has shape {list(tensor.shape)}; give {wanted}")
    if tensor.dtype not in dtypes:
        raise ValueError(f"{name} is {tensor.dtype}; give {' or '.join(map(str, dtypes))}")
    if not tensor.is_contiguous():
        raise ValueError(f"{name} has strides {tensor.stride()}; give a contiguous tensor")


def check_caches(k_cache: Tensor, v_cache: Tensor, dtype: torch.dtype) -> tuple[int, int, int]:
    """Checks both [pages, page_size, kv_heads, head_dim] of `dtype` or e4m3; returns the last three sizes."""
    check_tensor("k_cache", k_cache, (None, None, None, None), (dtype, E4M3))
    check_tensor("v_cache", v_cache, k_cache.shape, (k_cache.dtype,))
    page_size, kv_heads, head_dim = (int(size) for size in k_cache.shape[1:])
    if page_size < 16 or page_size & (page_size - 1):
        raise ValueError(f"k_cache has pages of {page_size} tokens; give a power of two, at least 16")
    return page_size, kv_heads, head_dim


def count_group(num_heads: int, kv_heads: int, limit: int) -> int:
    """Returns the query heads of each key-value head."""
    group = num_heads // kv_heads
    if group * kv_heads != num_heads or not 0 < group <= limit:
        raise ValueError(
            f"q has {num_heads} heads over {kv_heads} of the cache; give a multiple, at most {limit} times"
        )
    return group


def choose_num_warps(block: int, maximum: int = 16) -> int:
    """Returns the warps of a program that holds a row of so many values."""
    return min(maximum, max(4, block // 512))
