"""The shapes of models that many people serve: what an image has compiled kernels for."""

from dataclasses import dataclass

from pagoda_server.model.config import ModelConfig


@dataclass(frozen=True, slots=True)
class Shape:
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int
    positions: int
    qk_norm: bool = False


COMMON_SHAPES = {
    "pagoda-tiny": Shape(256, 8, 4, 32, 640, 1536, 2048),
    "Llama-3.2-1B": Shape(2048, 32, 8, 64, 8192, 128_256, 131_072),
    "Llama-3.2-3B": Shape(3072, 24, 8, 128, 8192, 128_256, 131_072),
    "Llama-3.1-8B": Shape(4096, 32, 8, 128, 14_336, 128_256, 131_072),
    "Mistral-7B-v0.3": Shape(4096, 32, 8, 128, 14_336, 32_768, 32_768),
    "Mistral-Nemo-12B": Shape(5120, 32, 8, 128, 14_336, 131_072, 131_072),
    "Mistral-Small-24B": Shape(5120, 32, 8, 128, 32_768, 131_072, 32_768),
    "Qwen2.5-0.5B": Shape(896, 14, 2, 64, 4864, 151_936, 32_768),
    "Qwen2.5-1.5B": Shape(1536, 12, 2, 128, 8960, 151_936, 32_768),
    "Qwen2.5-3B": Shape(2048, 16, 2, 128, 11_008, 151_936, 32_768),
    "Qwen2.5-7B": Shape(3584, 28, 4, 128, 18_944, 152_064, 32_768),
    "Qwen2.5-14B": Shape(5120, 40, 8, 128, 13_824, 152_064, 32_768),
    "Qwen2.5-32B": Shape(5120, 40, 8, 128, 27_648, 152_064, 32_768),
    "Qwen3-0.6B": Shape(1024, 16, 8, 128, 3072, 151_936, 40_960, qk_norm=True),
    "Qwen3-1.7B": Shape(2048, 16, 8, 128, 6144, 151_936, 40_960, qk_norm=True),
    "Qwen3-4B": Shape(2560, 32, 8, 128, 9728, 151_936, 40_960, qk_norm=True),
    "Qwen3-8B": Shape(4096, 32, 8, 128, 12_288, 151_936, 40_960, qk_norm=True),
    "Qwen3-14B": Shape(5120, 40, 8, 128, 17_408, 151_936, 40_960, qk_norm=True),
    "Qwen3-32B": Shape(5120, 64, 8, 128, 25_600, 151_936, 40_960, qk_norm=True),
}


def build_two_layers(shape: Shape) -> ModelConfig:
    """The last layer launches other kernels than all before it, which launch the same."""
    return ModelConfig(
        architecture="Qwen3ForCausalLM" if shape.qk_norm else "LlamaForCausalLM",
        vocab_size=shape.vocab,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_layers=2,
        num_heads=shape.heads,
        num_kv_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        rms_norm_eps=1e-6,
        max_position_embeddings=shape.positions,
        rope_theta=1e6,
        rope_scaling=None,
        tie_word_embeddings=True,
        qkv_bias=False,
        output_bias=False,
        mlp_bias=False,
        qk_norm=shape.qk_norm,
        dtype="bfloat16",
        eos_token_ids=(),
    )
