"""What `quantization_config` says of a checkpoint of fp8 weights in the compressed-tensors format.

Everything in it that changes a number is read; what the engine would compute otherwise is refused by field and value.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pagoda_guard.showing import shorten, show

SUPPORTED = "fp8 weights in the compressed-tensors format (format 'float-quantized')"
FREE = object()
"""In the place of supported values: whatever it says, no number depends on it."""
Fields = Mapping[str, tuple[Any, ...] | object]

TOP: Fields = {
    "quant_method": ("compressed-tensors",),
    "format": ("float-quantized",),
    "quantization_status": (None, "compressed", "frozen"),
    "sparsity_config": (None, {}, {"format": "dense"}),
    "transform_config": (None, {}),
    "config_groups": FREE,
    "ignore": FREE,
    "kv_cache_scheme": FREE,
    "global_compression_ratio": FREE,
    "version": FREE,
}
GROUP: Fields = {
    "targets": (["Linear"],),
    "format": (None, "float-quantized"),
    "output_activations": (None,),
    "weights": FREE,
    "input_activations": FREE,
}
NUMBERS: Fields = {
    "num_bits": (8,),
    "type": ("float",),
    "symmetric": (None, True),
    "group_size": (None,),
    "block_structure": (None,),
    "actorder": (None,),
    "observer": FREE,
    "observer_kwargs": FREE,
    "scale_dtype": FREE,
    "zp_dtype": FREE,
}
WEIGHTS: Fields = {**NUMBERS, "strategy": (None, "channel", "tensor"), "dynamic": (None, False)}
INPUTS: Fields = {**NUMBERS, "strategy": (None, "token", "tensor"), "dynamic": (None, True, False)}
"""Scales are made for each token, whatever it asks: finer than one for all, and a stored `input_scale` is not read."""
CACHE: Fields = {**NUMBERS, "strategy": (None, "tensor"), "dynamic": (None, False)}


@dataclass(frozen=True, slots=True)
class Fp8Checkpoint:
    has_kv_scales: bool
    """A scale for the keys and one for the values of each layer, for an fp8 cache."""


def parse_fp8_checkpoint(raw: Mapping[str, Any], *, tied: bool) -> Fp8Checkpoint:
    """Parses the config; `tied`: the model has no head of its own.

    Raises ValueError with field, value and what is supported.
    """
    if raw.get("quant_method") != "compressed-tensors":
        method = show(raw.get("quant_method"))
        raise ValueError(f"quantization_config.quant_method is {method}; supported are {SUPPORTED}")
    _check("quantization_config", raw, TOP)
    _check_groups(raw.get("config_groups"))
    ignored = raw.get("ignore") or []
    if ignored != ["lm_head"] and not (tied and not ignored):
        raise ValueError(
            f"quantization_config.ignore is {show(ignored)}; supported is ['lm_head']: every projection of a layer "
            "in fp8 and the head not"
        )
    scheme = raw.get("kv_cache_scheme")
    if scheme is not None:
        _check("quantization_config.kv_cache_scheme", scheme, CACHE)
    return Fp8Checkpoint(has_kv_scales=scheme is not None)


def _check_groups(groups: Any) -> None:
    where = "quantization_config.config_groups"
    if not isinstance(groups, Mapping) or len(groups) != 1:
        raise ValueError(f"{where} is {show(groups)}; supported is one group for all projections")
    ((name, group),) = groups.items()
    where = f"{where}.{shorten(name)}"
    _check(where, group, GROUP)
    _check(f"{where}.weights", group.get("weights"), WEIGHTS)
    _check(f"{where}.input_activations", group.get("input_activations"), INPUTS)


def _check(where: str, given: Any, fields: Fields) -> None:
    """Raises ValueError for an unsupported value. An absent field counts as null; an unknown one must be null."""
    if not isinstance(given, Mapping):
        raise ValueError(f"{where} is {show(given)}; supported are {SUPPORTED}")
    for name in sorted(fields.keys() | given.keys()):
        value, supported = given.get(name), fields.get(name, (None,))
        if isinstance(supported, tuple) and value not in supported:
            known = " or ".join(map(repr, supported))
            raise ValueError(f"{where}.{shorten(name)} is {show(value)}; supported is {known}")
