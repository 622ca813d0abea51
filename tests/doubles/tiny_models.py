"""Models small enough for a test: random weights of public families, and a tokenizer of 300 tokens.

What writes with transformers or tokenizers imports them when it is called: many tests need a config alone.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pagoda_server.model.config import ModelConfig, parse_model_config

if TYPE_CHECKING:
    import tokenizers
    import transformers

CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": 199,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
"""What a config.json must say, and no more."""
SIZES: dict[str, Any] = {
    **{key: value for key, value in CONFIG.items() if key != "architectures"},
    "max_position_embeddings": 256,
    "initializer_range": 0.3,
    "eos_token_id": None,
}
OF_FAMILY: dict[str, dict[str, Any]] = {"mistral": {"sliding_window": None}}
TEMPLATE = "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}\n{% endfor %}"
TEMPLATE += "{% if add_generation_prompt %}<|assistant|>{% endif %}"

AGENT_TEMPLATE = """
{%- if tools %}<|im_start|>system
{% if messages[0].role == 'system' %}{{ messages[0].content }}
{% endif %}Call a tool by <tool_call>{"name": ..., "arguments": ...}</tool_call>
{% for tool in tools %}{{ tool | tojson }}
{% endfor %}<|im_end|>
{% endif %}
{%- for m in messages %}
{%- if m.role == 'tool' %}<|im_start|>user
<tool_response>{{ m.name }}: {{ m.content }}</tool_response><|im_end|>
{% elif not (loop.first and tools and m.role == 'system') %}<|im_start|>{{ m.role }}
{% if m.reasoning_content %}<think>{{ m.reasoning_content }}</think>
{% endif %}{{ m.content }}
{%- for call in m.tool_calls or [] %}
<tool_call>{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}</tool_call>
{%- endfor %}<|im_end|>
{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% if enable_thinking is defined and not enable_thinking %}<think>

</think>

{% endif %}{% endif %}"""
"""Of a model that calls tools and reasons, in the manner of Qwen 3."""
AGENT_TOKENS = ("<|im_start|>", "<|im_end|>")
AGENT_MARKS = ("<think>", "</think>", "<tool_call>", "</tool_call>")
"""Tokens of it that are no special ones."""


def build_model_config(**changes: Any) -> ModelConfig:
    """Returns a config as it is once parsed; `changes` are fields of config.json."""
    return parse_model_config(CONFIG | changes, {})


def write_model(folder: Path, family: str = "llama", **changes: Any) -> "transformers.PreTrainedModel":
    """Writes a model of random weights, the same each time, and returns it; no bias is 0 and no norm is 1.

    `family` is a model type of transformers, `changes` are fields of its config.
    """
    import torch
    import transformers

    config = transformers.AutoConfig.for_model(family, **SIZES | OF_FAMILY.get(family, {}) | changes)
    torch.manual_seed(7)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias") or "norm" in name:
                parameter.add_(torch.randn_like(parameter) * 0.2)
    model.save_pretrained(folder)
    return model


def build_tokenizer(more_special: tuple[str, ...] = (), marks: tuple[str, ...] = ()) -> "tokenizers.Tokenizer":
    """Returns a tokenizer of bytes and a few merges, whose token 0 ends an answer. `marks` are no special tokens."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<eos>", *more_special], initial_alphabet=alphabet, show_progress=False
    )
    raw.train_from_iterator(["Hello world, hello there"], trainer)
    raw.add_tokens([AddedToken(mark, normalized=False) for mark in marks])
    return raw


def write_tokenizer(
    folder: Path, template: str = TEMPLATE, more_special: tuple[str, ...] = (), marks: tuple[str, ...] = ()
) -> None:
    """Writes that tokenizer, and a chat template."""
    build_tokenizer(more_special, marks).save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<eos>", "chat_template": template}))
