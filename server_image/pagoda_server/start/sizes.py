"""How many pages fit beside the weights, and how long a request may be: what the engine's limits are made of."""

import torch

from pagoda_server.engine.batch import Limits
from pagoda_server.engine.config import EngineConfig
from pagoda_server.model.config import ModelConfig
from pagoda_server.runtime.cache import count_page_bytes


def build_limits(config: EngineConfig, model: ModelConfig, max_model_len: int) -> Limits:
    return Limits(
        max_model_len=max_model_len,
        max_num_seqs=config.max_num_seqs,
        max_batched_tokens=config.max_batched_tokens,
        vocab_size=model.vocab_size,
        eos_token_ids=model.eos_token_ids,
    )


def fit_model_len(config: EngineConfig, model: ModelConfig, num_pages: int) -> int:
    """Raises ValueError when the pages do not hold what was asked for."""
    max_model_len = min(config.max_model_len or model.max_position_embeddings, num_pages * config.page_size)
    if config.max_model_len is not None and max_model_len < config.max_model_len:
        raise ValueError(
            f"max_model_len is {config.max_model_len} but the KV pages hold {max_model_len} tokens; "
            "lower it, or raise kv_cache_bytes (CPU) or gpu_memory_fraction (GPU)"
        )
    return max_model_len


def count_pages(
    config: EngineConfig, model: ModelConfig, device: torch.device, dtype: torch.dtype, kv_dtype: torch.dtype
) -> int:
    """Counts the pages in the memory left beside weights (already loaded) and activations (estimated)."""
    page_bytes = count_page_bytes(model, config.page_size, kv_dtype)
    if device.type == "cpu":
        budget_bytes = config.kv_cache_bytes // config.tensor_parallel
    else:
        free_bytes, total_bytes = torch.cuda.mem_get_info(device)
        unused_share_bytes = int(total_bytes * (1.0 - config.gpu_memory_fraction))
        budget_bytes = free_bytes - unused_share_bytes - estimate_activation_bytes(config, model, dtype)
    if budget_bytes < page_bytes:
        raise ValueError(
            f"{budget_bytes} bytes are left for KV pages of {page_bytes} bytes each; "
            "raise kv_cache_bytes (CPU) or gpu_memory_fraction (GPU), or lower max_batched_tokens"
        )
    return budget_bytes // page_bytes


def estimate_activation_bytes(config: EngineConfig, model: ModelConfig, dtype: torch.dtype) -> int:
    """Estimates a step's peak, and what a row keeps: the widest activations of all tokens, and 16 bytes a logit.

    Of these up to 8 are the logits and what ranks gather of them, 4 those of a request's own, 2 how often it said each.
    """
    token_bytes = dtype.itemsize * (6 * model.hidden_size + 4 * model.intermediate_size)
    return config.max_batched_tokens * token_bytes + config.max_num_seqs * model.vocab_size * 16
