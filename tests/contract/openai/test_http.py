"""Whatever bytes come: one error shape, never a 5xx, nothing inflated, and no word of them in the log."""

import asyncio
import gzip
import json
import zlib
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

CHAT = "/v1/chat/completions"
GOOD = json.dumps({"model": "tiny", "messages": [{"role": "user", "content": "Hi"}]}).encode()
FUZZ = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
SECRET = b"sk-secret"


def check_error(text: str) -> dict[str, Any]:
    error: dict[str, Any] = json.loads(text)["error"]
    assert set(error) == {"message", "type", "param", "code"} and error["message"].isprintable()
    return error


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "x", "identity, gzip"])
@pytest.mark.parametrize("body", [GOOD, gzip.compress(GOOD), zlib.compress(GOOD), b""])
async def test_an_encoded_body_is_refused_as_it_is(stack: Any, http: Any, encoding: str, body: bytes) -> None:
    headers = {"Content-Encoding": encoding, "Content-Type": "application/json"}
    async with http.post(stack.url + CHAT, data=body, headers=headers, compress=False) as response:
        assert check_error(await response.text())["code"] == "unsupported_encoding"
        assert response.status == 415


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
async def test_only_json_is_taken(stack: Any, http: Any, kind: str) -> None:
    async with http.post(stack.url + CHAT, data=GOOD, headers={"Content-Type": kind}) as response:
        assert response.status == 415 and "application/json" in check_error(await response.text())["message"]


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", "Application/JSON", None])
async def test_json_is_taken_by_any_of_its_names_and_without_one(stack: Any, http: Any, kind: str | None) -> None:
    more: dict[str, Any] = {"headers": {"Content-Type": kind}} if kind else {"skip_auto_headers": ["Content-Type"]}
    for body in (GOOD, b"\xef\xbb\xbf" + GOOD):
        async with http.post(stack.url + CHAT, data=body, **more) as response:
            assert response.status == 200, await response.text()


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("GET", CHAT, {"POST"}), ("PUT", "/v1/completions", {"POST"}), ("POST", "/v1/models", {"GET", "HEAD"})],
)
async def test_a_wrong_method_is_told_the_right_one(
    stack: Any, http: Any, method: str, path: str, allowed: set[str]
) -> None:
    async with http.request(method, stack.url + path) as response:
        assert response.status == 405 and check_error(await response.text())["code"] == "method_not_allowed"
        assert set(response.headers["Allow"].split(", ")) == allowed


@pytest.mark.parametrize(
    "name", ["embeddings", "images/generations", "files/x", "audio/speech", "fine_tuning/jobs", "rerank"]
)
async def test_a_route_that_is_not_built_says_what_to_use(stack: Any, http: Any, name: str) -> None:
    for method in ("POST", "GET"):
        async with http.request(method, f"{stack.url}/v1/{name}") as response:
            message = check_error(await response.text())["message"]
            assert response.status == 404 and message.startswith(f"/v1/{name} is not supported yet; use /v1/")


async def send(stack: Any, raw: bytes) -> bytes:
    """The answer to some bytes."""
    host, port = stack.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(raw)
    async with asyncio.timeout(30):
        head = await reader.readuntil(b"\r\n\r\n")
        answer = head + await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split()[0]))
    writer.close()
    await writer.wait_closed()
    return answer


MALFORMED = [
    (b"GET /" + SECRET + b"\x7f HTTP/1.1\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nAuthorization: Bearer " + SECRET + b"\x00\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nAuthorization: Bearer " + SECRET * 2000 + b"\r\n\r\n", 431),
    (b"POST " + CHAT.encode() + b" HTTP/1.1\r\nHost: x\r\nContent-Length: " + SECRET + b"\r\n\r\n", 400),
    (b"POST " + CHAT.encode() + b" HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + SECRET + b"\r\n", 400),
    (b"POST " + CHAT.encode() + b" HTTP/1.1\r\nHost: x\r\nExpect: " + SECRET + b"\r\n\r\n", 417),
    (SECRET + b"\r\n\r\n", 400),
]


@pytest.mark.parametrize(("raw", "status"), MALFORMED)
async def test_malformed_bytes_are_told_so_and_repeated_nowhere(
    stack: Any, caplog: pytest.LogCaptureFixture, raw: bytes, status: int
) -> None:
    answer = await send(stack, raw)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.split()[1] == str(status).encode(), answer
    check_error(body.decode())
    assert SECRET not in answer and SECRET.decode() not in caplog.text


PATHS = st.sampled_from([CHAT, "/v1/completions", "/tokenize", "/check" + CHAT, "/v1/models/x", "/health", "/v1/%0a"])
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "Content-Type": st.sampled_from(["application/json", "text/plain", "a/b+json", "", "\xff"]),
        "Content-Encoding": st.sampled_from(["gzip", "identity", "br"]),
    },
)


@FUZZ
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "X"]),
    path=PATHS | st.text(alphabet="/v1abc%_.é\n ", max_size=12).map(lambda text: "/" + text),
    headers=HEADERS,
    body=st.binary(max_size=40) | st.sampled_from([GOOD, b"[" * 1500 + b"]" * 1500, b"1" * 5000]),
)
async def test_any_request_is_answered_in_the_one_shape(
    stack: Any, http: Any, method: str, path: str, headers: dict[str, str], body: bytes
) -> None:
    async with http.request(method, stack.url + path, headers=headers, data=body, compress=False) as response:
        text = await response.text()
        assert response.status < 500, text
        if response.status >= 400 and method != "HEAD":
            check_error(text)


async def test_a_fault_of_ours_is_logged_without_the_words_of_the_request(
    stack: Any, post: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        def encode(self, turn: Any, *more: Any) -> None:
            raise LookupError(str(turn))

    stack.api.conversations = Broken()
    status, _ = await post(CHAT, {"model": "tiny", "messages": [{"role": "user", "content": SECRET.decode()}]})
    assert status == 500
    assert "LookupError" in caplog.text and SECRET.decode() not in caplog.text
