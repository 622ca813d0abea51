"""Pagoda's engine measured beside its peers: the same work, on the same machine, with every figure dated.

Nothing here is part of the product. Modules import torch, vllm, transformers and aiohttp only where they run them, so
that results can be merged and rendered anywhere.
"""
