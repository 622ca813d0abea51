"""Text to token ids and back, and the model's own chat template.

The template comes only from the model's folder, never from a request. It runs in jinja's immutable sandbox, in the same
environment as transformers, because templates are written for that one.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer as RawTokenizer

SPECIAL_NAMES = ("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token")


class TemplateError(Exception):
    """The model's template refuses these messages, or there is no template."""


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def _strftime_now(pattern: str) -> str:
    return datetime.now().strftime(pattern)


def _tojson(value: object, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def compile_template(source: str) -> jinja2.Template:
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    return environment.from_string(source)


@dataclass(frozen=True, slots=True)
class Tokenizer:
    raw: RawTokenizer
    template: jinja2.Template | None
    special_tokens: dict[str, str]

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        ids: list[int] = self.raw.encode(text, add_special_tokens=add_special_tokens).ids
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        text: str = self.raw.decode(list(ids), skip_special_tokens=True)
        return text

    def token_text(self, token_id: int) -> str:
        """One token by itself, special tokens by their name: what logprobs call the token."""
        text: str = self.raw.decode([token_id], skip_special_tokens=False)
        return text

    def render_chat(self, messages: Sequence[dict[str, str]]) -> str:
        if self.template is None:
            raise TemplateError("this model has no chat template; use /v1/completions")
        try:
            return self.template.render(
                messages=list(messages), add_generation_prompt=True, tools=None, documents=None, **self.special_tokens
            )
        except (jinja2.TemplateError, TypeError, ValueError, KeyError, AttributeError) as error:
            raise TemplateError(f"the model's chat template refuses these messages: {error}") from error

    def encode_chat(self, messages: Sequence[dict[str, str]]) -> list[int]:
        return self.encode(self.render_chat(messages), add_special_tokens=False)


def read_tokenizer(folder: Path) -> Tokenizer:
    raw = RawTokenizer.from_file(str(folder / "tokenizer.json"))
    raw.no_truncation()
    raw.no_padding()
    config_path = folder / "tokenizer_config.json"
    config: dict[str, Any] = json.loads(config_path.read_text("utf-8")) if config_path.exists() else {}
    source = _read_template(folder, config)
    return Tokenizer(
        raw=raw,
        template=compile_template(source) if source is not None else None,
        special_tokens=_special_tokens(config),
    )


def _read_template(folder: Path, config: dict[str, Any]) -> str | None:
    path = folder / "chat_template.jinja"
    if path.exists():
        return path.read_text("utf-8")
    value = config.get("chat_template")
    if isinstance(value, list):
        value = next((entry["template"] for entry in value if entry.get("name") == "default"), None)
    return value if isinstance(value, str) else None


def _special_tokens(config: dict[str, Any]) -> dict[str, str]:
    tokens = {}
    for name in SPECIAL_NAMES:
        value = config.get(name)
        text = value.get("content") if isinstance(value, dict) else value
        if isinstance(text, str):
            tokens[name] = text
    return tokens
