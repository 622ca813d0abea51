"""The shapes of models that many people serve: what an image has compiled kernels for, and what benchmarks measure.

It imports nothing but the standard library: benchmarks of other engines read it where nothing of ours is installed.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Shape:
    num_layers: int
    hidden_size: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    intermediate_size: int
    vocab_size: int
    max_position_embeddings: int
    rope_theta: float
    tied: bool = False
    """The embedding's weight is the head's too."""
    qk_norm: bool = False

    @property
    def architecture(self) -> str:
        """Returns the class in transformers that computes the same, but for the biases of Qwen2.5."""
        return "Qwen3ForCausalLM" if self.qk_norm else "LlamaForCausalLM"


COMMON_SHAPES = {
    "pagoda-tiny": Shape(6, 256, 8, 4, 32, 640, 1536, 2048, 1e4, tied=True),
    "Llama-3.2-1B": Shape(16, 2048, 32, 8, 64, 8192, 128_256, 131_072, 5e5, tied=True),
    "Llama-3.2-3B": Shape(28, 3072, 24, 8, 128, 8192, 128_256, 131_072, 5e5, tied=True),
    "Llama-3.1-8B": Shape(32, 4096, 32, 8, 128, 14_336, 128_256, 131_072, 5e5),
    "Mistral-7B-v0.3": Shape(32, 4096, 32, 8, 128, 14_336, 32_768, 32_768, 1e6),
    "Mistral-Nemo-12B": Shape(40, 5120, 32, 8, 128, 14_336, 131_072, 131_072, 1e6),
    "Mistral-Small-24B": Shape(40, 5120, 32, 8, 128, 32_768, 131_072, 32_768, 1e8),
    "Qwen2.5-0.5B": Shape(24, 896, 14, 2, 64, 4864, 151_936, 32_768, 1e6, tied=True),
    "Qwen2.5-1.5B": Shape(28, 1536, 12, 2, 128, 8960, 151_936, 32_768, 1e6, tied=True),
    "Qwen2.5-3B": Shape(36, 2048, 16, 2, 128, 11_008, 151_936, 32_768, 1e6, tied=True),
    "Qwen2.5-7B": Shape(28, 3584, 28, 4, 128, 18_944, 152_064, 32_768, 1e6),
    "Qwen2.5-14B": Shape(48, 5120, 40, 8, 128, 13_824, 152_064, 32_768, 1e6),
    "Qwen2.5-32B": Shape(64, 5120, 40, 8, 128, 27_648, 152_064, 32_768, 1e6),
    "Qwen3-0.6B": Shape(28, 1024, 16, 8, 128, 3072, 151_936, 40_960, 1e6, tied=True, qk_norm=True),
    "Qwen3-1.7B": Shape(28, 2048, 16, 8, 128, 6144, 151_936, 40_960, 1e6, tied=True, qk_norm=True),
    "Qwen3-4B": Shape(36, 2560, 32, 8, 128, 9728, 151_936, 40_960, 1e6, tied=True, qk_norm=True),
    "Qwen3-8B": Shape(36, 4096, 32, 8, 128, 12_288, 151_936, 40_960, 1e6, qk_norm=True),
    "Qwen3-14B": Shape(40, 5120, 40, 8, 128, 17_408, 151_936, 40_960, 1e6, qk_norm=True),
    "Qwen3-32B": Shape(64, 5120, 64, 8, 128, 25_600, 151_936, 40_960, 1e6, qk_norm=True),
}
