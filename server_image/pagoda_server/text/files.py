"""Reads a model's tokenizer from its folder. The files come from elsewhere: each fault names the file and the field."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
from tokenizers import Tokenizer as RawTokenizer

from pagoda_guard.files import BadFile, is_plain_file, read_plain_file
from pagoda_guard.parsing import BadInput, parse_json

CONFIG_BYTES = 16 * 1024 * 1024
TEMPLATE_BYTES = 1024 * 1024
TOKENIZER_BYTES = 512 * 1024 * 1024
REFETCH = "fetch the model again"
TEMPLATE_FILE, CONFIG_FILE, TOKENIZER_FILE = "chat_template.jinja", "tokenizer_config.json", "tokenizer.json"
MORE_TEMPLATES, TOOL_TEMPLATE = "additional_chat_templates", "tool_use"
Template = Annotated[str, msgspec.Meta(max_length=TEMPLATE_BYTES)]


class _Token(msgspec.Struct):
    content: str


class _NamedTemplate(msgspec.Struct):
    name: str
    template: Template


class _Config(msgspec.Struct):
    bos_token: str | _Token | None = None
    eos_token: str | _Token | None = None
    unk_token: str | _Token | None = None
    pad_token: str | _Token | None = None
    sep_token: str | _Token | None = None
    cls_token: str | _Token | None = None
    mask_token: str | _Token | None = None
    chat_template: Template | list[_NamedTemplate] | None = None


@dataclass(frozen=True, slots=True)
class TokenizerFiles:
    raw: RawTokenizer
    template: str | None
    special_tokens: dict[str, str]
    tool_template: str | None = None
    """The template to use where there are tools, if that is another one."""


def read_files(folder: Path) -> TokenizerFiles:
    """Returns what the files hold. Raises ValueError for one that is missing or not what it should be."""
    config = _read_config(folder / CONFIG_FILE)
    template = _read_template(folder / TEMPLATE_FILE, config)
    tool_template = _read_named(folder, config, TOOL_TEMPLATE)
    return TokenizerFiles(_read_raw(folder / TOKENIZER_FILE), template, _find_special_tokens(config), tool_template)


def _read_raw(path: Path) -> RawTokenizer:
    """Returns the library's tokenizer. NB: it raises bare `Exception`s, and panics of its core are not even that."""
    text = _read_text(path, TOKENIZER_BYTES)
    try:
        raw = RawTokenizer.from_str(text)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        raise ValueError(f"{path.name} is not a tokenizer: {error}") from error
    raw.no_truncation()
    raw.no_padding()
    return raw


def _read_text(path: Path, limit_bytes: int) -> str:
    try:
        text = _read_bytes(path, limit_bytes).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path.name} is not UTF-8 at byte {error.start}") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _read_bytes(path: Path, limit_bytes: int) -> bytes:
    try:
        return read_plain_file(path, limit_bytes=limit_bytes)
    except BadFile as error:
        raise ValueError(f"{path.name} {error}; {REFETCH}") from error


def _has_file(path: Path) -> bool:
    try:
        return is_plain_file(path)
    except BadFile as error:
        raise ValueError(f"{path.name} {error}; {REFETCH}") from error


def _read_config(path: Path) -> _Config:
    if not _has_file(path):
        return _Config()
    try:
        return parse_json(_read_bytes(path, CONFIG_BYTES), _Config, limit_bytes=CONFIG_BYTES)
    except BadInput as error:
        raise ValueError(f"{path.name}: {error}") from error


def _read_template(path: Path, config: _Config) -> str | None:
    if _has_file(path):
        return _read_text(path, TEMPLATE_BYTES)
    return _find_named(config, "default") if isinstance(config.chat_template, list) else config.chat_template


def _read_named(folder: Path, config: _Config, name: str) -> str | None:
    """Returns a further template of the model, from its own file or from the list in the configuration."""
    path = folder / MORE_TEMPLATES / f"{name}.jinja"
    return _read_text(path, TEMPLATE_BYTES) if _has_file(path) else _find_named(config, name)


def _find_named(config: _Config, name: str) -> str | None:
    entries = config.chat_template if isinstance(config.chat_template, list) else []
    return next((entry.template for entry in entries if entry.name == name), None)


def _find_special_tokens(config: _Config) -> dict[str, str]:
    """Returns the special tokens that the template may name."""
    named = msgspec.structs.asdict(config)
    del named["chat_template"]
    return {name: one.content if isinstance(one, _Token) else one for name, one in named.items() if one is not None}
