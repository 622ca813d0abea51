"""The numbers of fp8 that kernels and their reference share: e4m3, 3 bits of mantissa and no infinity. No Triton."""

import torch

E4M3 = torch.float8_e4m3fn
LARGEST = 448.0
SMALLEST_SCALE = 2.0**-100
"""A row of zeros needs a scale that can be divided by."""
