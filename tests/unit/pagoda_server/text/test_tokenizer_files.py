"""A tokenizer's files come from elsewhere: what is wrong with one is said by its name and its field."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as RawTokenizer
from tokenizers import models

from pagoda_server.text.tokenizer import read_tokenizer

ODD = [b"[" * 5000, b"{}", b"[]", b"null", b'{"model": 5}', b'{"version": "1.0", "model": {}}', b"{{ 1"]
FUZZ = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    RawTokenizer(models.WordLevel({"?": 0}, unk_token="?")).save(str(tmp_path / "tokenizer.json"))
    return tmp_path


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ([], "object"),
        ({"chat_template": 5}, "chat_template"),
        ({"chat_template": [{"name": "default"}]}, "template"),
        ({"chat_template": [5]}, "chat_template"),
        ({"eos_token": 5}, "eos_token"),
        ({"bos_token": {"content": []}}, "bos_token.content"),
        ({"chat_template": "{% for %}"}, "chat_template"),
        ({"chat_template": "{{" + "(" * 5000}, "chat_template"),
    ],
)
def test_a_wrong_type_is_named(folder: Path, config: Any, field: str) -> None:
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=field):
        read_tokenizer(folder)


@FUZZ
@given(
    name=st.sampled_from(["tokenizer_config.json", "tokenizer.json", "chat_template.jinja"]),
    content=st.binary(max_size=60)
    | st.sampled_from(
        [b"[" * 5000, b"{}", b"[]", b"null", b'{"model": 5}', b'{"version": "1.0", "model": {}}', b"{{ 1"]
    ),
)
def test_any_bytes_are_a_tokenizer_or_a_value_error(folder: Path, name: str, content: bytes) -> None:
    before = (folder / name).read_bytes() if (folder / name).exists() else None
    (folder / name).write_bytes(content)
    try:
        read_tokenizer(folder)
    except ValueError as error:
        assert name.split(".")[0].removesuffix("_config") in str(error), error
    finally:
        (folder / name).unlink() if before is None else (folder / name).write_bytes(before)


def test_the_default_of_several_templates_is_taken(folder: Path) -> None:
    templates = [{"name": "tool_use", "template": "no"}, {"name": "default", "template": "{{ bos_token }}"}]
    config = {"chat_template": templates, "bos_token": {"content": "<s>", "lstrip": False}, "model_max_length": 1e30}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    assert read_tokenizer(folder).render_chat([{"role": "user", "content": "Hi"}]) == "<s>"
