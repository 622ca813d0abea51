"""A prompt that is open at the end of its last message, whatever the template does to that message."""

from pathlib import Path
from typing import Any

import pytest

from pagoda_server.text.tokenizer import TemplateError, Tokenizer, build_tokenizer, read_tokenizer
from tests.doubles.tiny_models import TEMPLATE, write_tokenizer

CHAT: list[dict[str, Any]] = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hel lo "}]
TRIMMING = "{% for m in messages %}[{{ m.role }}] {{ m.content | trim }}<eos>{% endfor %}"
SPLITTING = "{% for m in messages %}[{{ m.role }}] {{ m.content.split('</think>')[-1] }}<eos>{% endfor %}"
TWICE = "{% for m in messages %}{{ m.content }}{{ m.content }}<eos>{% endfor %}"
FORGETTING = "{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}"


@pytest.fixture
def tokenizer(tmp_path: Path) -> Tokenizer:
    write_tokenizer(tmp_path)
    return read_tokenizer(tmp_path)


def render(tokenizer: Tokenizer, template: str, messages: list[dict[str, Any]]) -> str:
    token_ids = build_tokenizer(tokenizer.raw, template, {}).encode_chat(messages, continues_last=True)
    return tokenizer.decode(token_ids, skip_special_tokens=False)


@pytest.mark.parametrize(
    ("template", "prompt"),
    [
        (TEMPLATE, "<|user|>Hi\n<|assistant|>Hel lo "),
        (TRIMMING, "[user] Hi<eos>[assistant] Hel lo "),
        (SPLITTING, "[user] Hi<eos>[assistant] Hel lo "),
    ],
)
def test_the_prompt_ends_where_the_last_message_does(tokenizer: Tokenizer, template: str, prompt: str) -> None:
    assert render(tokenizer, template, CHAT) == prompt


@pytest.mark.parametrize("content", [None, ""])
def test_an_empty_message_is_begun(tokenizer: Tokenizer, content: str | None) -> None:
    assert render(tokenizer, TRIMMING.replace("| trim", ""), [{"role": "assistant", "content": content}]) == (
        "[assistant] "
    )


def test_a_special_token_in_the_message_stays_text(tokenizer: Tokenizer) -> None:
    messages = [{"role": "assistant", "content": "a<eos>"}]
    token_ids = build_tokenizer(tokenizer.raw, TEMPLATE, {}).encode_chat(messages, continues_last=True)
    assert tokenizer.decode(token_ids, skip_special_tokens=False).endswith("a<eos>") and 0 not in token_ids


@pytest.mark.parametrize("template", [TWICE, FORGETTING])
def test_a_template_that_does_not_write_the_message_once_says_so(tokenizer: Tokenizer, template: str) -> None:
    with pytest.raises(TemplateError, match="remove continue_final_message"):
        render(tokenizer, template, CHAT)
