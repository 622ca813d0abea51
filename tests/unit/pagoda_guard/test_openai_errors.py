"""An error is one object in OpenAI's shape, whichever program wrote it and whichever reads it."""

import json

import pytest

from pagoda_guard.openai_errors import build_error, read_error_code
from pagoda_guard.parsing import BadInput


def test_an_error_says_message_type_field_and_code() -> None:
    error = build_error("n is 0; give 1 to 16", error_type="invalid_request_error", code="invalid_value", param="n")
    message = "n is 0; give 1 to 16"
    expected = {"message": message, "type": "invalid_request_error", "param": "n", "code": "invalid_value"}
    assert error == {"error": expected}


@pytest.mark.parametrize("code", ["model_not_found", None])
def test_its_code_is_read_again(code: str | None) -> None:
    raw = json.dumps(build_error("no", error_type="server_error", code=code)).encode()
    assert read_error_code(raw, limit_bytes=1000) == code


@pytest.mark.parametrize("raw", [b"", b"{}", b'{"error": 5}', b'{"error": {"code": 5}}'])
def test_what_is_no_error_is_bad_input(raw: bytes) -> None:
    with pytest.raises(BadInput):
        read_error_code(raw, limit_bytes=1000)
