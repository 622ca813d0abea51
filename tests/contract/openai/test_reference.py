"""The page of fields is what the server does, and has every field that clients can send."""

import runpy
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from openai.types import completion_create_params, embedding_create_params
from openai.types.chat import completion_create_params as chat_create_params
from openai.types.responses import response_create_params

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "docs" / "reference"
FIELDS = runpy.run_path(str(FOLDER / "openai_fields.py"))
SDK: dict[str, tuple[Any, str]] = {
    "/v1/chat/completions": (chat_create_params, "CompletionCreateParamsBase"),
    "/v1/completions": (completion_create_params, "CompletionCreateParamsBase"),
    "/v1/responses": (response_create_params, "ResponseCreateParamsBase"),
    "/v1/embeddings": (embedding_create_params, "EmbeddingCreateParams"),
}
OF_EVERY_REQUEST = {"model", "input", "messages", "prompt"}


def test_the_page_is_as_generated() -> None:
    written = (FOLDER / "openai.md").read_text(encoding="utf-8")
    generated = runpy.run_path(str(FOLDER / "generate_openai.py"))["write_reference"]()
    assert written == generated, "run: python docs/reference/generate_openai.py"


@pytest.mark.parametrize("path", SDK)
def test_the_page_has_every_field_of_openais_client(path: str) -> None:
    module, name = SDK[path]
    sent = set(getattr(module, name).__annotations__)
    rows = {field.name.partition(".")[0] for one in FIELDS["SECTIONS"] if one.path == path for field in one.fields}
    assert sent - OF_EVERY_REQUEST <= rows


def test_stream_options_are_all_there() -> None:
    from openai.types.chat import ChatCompletionStreamOptionsParam

    rows = {field.name for one in FIELDS["SECTIONS"] for field in one.fields}
    assert {f"stream_options.{name}" for name in get_type_hints(ChatCompletionStreamOptionsParam)} <= rows


def test_what_is_refused_says_what_to_do_instead() -> None:
    lines = (FOLDER / "openai.md").read_text(encoding="utf-8").splitlines()
    refused = [line.rpartition(" | ")[2] for line in lines if "| refused: " in line]
    assert refused and all(";" in one or ": put " in one for one in refused)
