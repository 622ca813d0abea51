"""The fields of `config.json` that the engine reads, each with its type and bounds.

The bounds are far above any model: within them what is built from a config takes bounded time and memory, so that the
weights' own sizes can be compared with it.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

import msgspec

from pagoda_guard.showing import show
from pagoda_server.model.files import UnsupportedModel

T = TypeVar("T", bound=msgspec.Struct)
MAX_LAYERS = 1024
MAX_WIDTH = 2**20
"""The widest hidden state, head, or all heads together."""
MAX_TOKENS = 2**24
"""The largest vocabulary."""
MAX_POSITIONS = 2**31

Width = Annotated[int, msgspec.Meta(ge=1, le=MAX_WIDTH)]
Positions = Annotated[int, msgspec.Meta(ge=1, le=MAX_POSITIONS)]
Share = Annotated[float, msgspec.Meta(gt=0, le=1e12)]
TokenId = Annotated[int, msgspec.Meta(ge=0, le=MAX_POSITIONS)]
EosTokens = TokenId | Annotated[list[TokenId], msgspec.Meta(max_length=1024)] | None


class RopeFile(msgspec.Struct, frozen=True, kw_only=True):
    rope_type: str | None = None
    type: str | None = None
    """Its older name."""
    rope_theta: Share | None = None
    partial_rotary_factor: float | None = None
    factor: Share | None = None
    low_freq_factor: Share | None = None
    high_freq_factor: Share | None = None
    original_max_position_embeddings: Positions | None = None


class ConfigFile(msgspec.Struct, frozen=True, kw_only=True):
    """What is absent or null has the default of the transformers library."""

    architectures: list[str] | None = None
    vocab_size: Annotated[int, msgspec.Meta(ge=1, le=MAX_TOKENS)]
    hidden_size: Width
    intermediate_size: Width
    num_hidden_layers: Annotated[int, msgspec.Meta(ge=1, le=MAX_LAYERS)]
    num_attention_heads: Width
    num_key_value_heads: Width | None = None
    head_dim: Width | None = None
    rms_norm_eps: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    max_position_embeddings: Positions | None = None
    rope_theta: Share | None = None
    rope_scaling: dict[str, Any] | None = None
    rope_parameters: dict[str, Any] | None = None
    partial_rotary_factor: float | None = None
    tie_word_embeddings: bool | None = None
    attention_bias: bool | None = None
    mlp_bias: bool | None = None
    hidden_act: str | None = None
    sliding_window: int | None = None
    use_sliding_window: bool | None = None
    layer_types: list[str] | None = None
    dtype: str | None = None
    torch_dtype: str | None = None
    """Its older name."""
    eos_token_id: EosTokens = None
    auto_map: Any = None
    quantization_config: dict[str, Any] | None = None
    compression_config: dict[str, Any] | None = None
    """Its older name."""


class GenerationFile(msgspec.Struct, frozen=True, kw_only=True):
    eos_token_id: EosTokens = None


def convert(raw: Mapping[str, Any], kind: type[T], *, where: str) -> T:
    """Raises `UnsupportedModel` with the field, its value and what it should be."""
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        wrong, _, path = str(error).partition(" - at `$.")
        field = path.rstrip("`")
        value = raw.get(re.split(r"[.\[]", field)[0])
        is_value = f" is {show(value)}" if field else ""
        raise UnsupportedModel(f"{where}: {field}{is_value}: {wrong}; correct it") from error
