"""Triton kernels of the engine's GPU path: one file a kernel, its launcher beside it.

Nothing here reads a value back from the GPU, and no grid depends on data, so every launch fits a CUDA graph. Imports
torch and triton only; what to run when is decided in `pagoda_server.runtime`.
"""
