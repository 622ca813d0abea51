"""The page to chat is served where it is asked for, as it is, and under a policy that lets nothing else run."""

import base64
import hashlib
import re
from importlib.resources import files

import pytest

from pagoda_gateway.chat_page import build_policy

from .conftest import Client, Start

TEXT = files("pagoda_gateway").joinpath("chat_page.html").read_text("utf-8")


async def test_the_page_is_off_unless_it_is_asked_for(start: Start, client: Client) -> None:
    gateway = await start()
    assert (await client.get(gateway, "/")).status == 404


async def test_the_page_needs_no_key_and_says_what_may_run(
    start: Start, client: Client, tmp_path_factory: pytest.TempPathFactory
) -> None:
    gateway = await start(chat_page=True, api_keys_dir=tmp_path_factory.mktemp("keys"))
    response = await client.get(gateway, "/")
    assert (response.status, response.content_type, await response.text()) == (200, "text/html", TEXT)
    policy = dict(part.strip().split(" ", 1) for part in response.headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == policy["frame-ancestors"] == "'none'"
    assert policy["connect-src"] == "'self'" and "unsafe" not in str(policy)
    assert response.headers["X-Content-Type-Options"] == "nosniff"


async def test_a_browser_that_has_the_page_is_told_that_it_is_the_same(start: Start, client: Client) -> None:
    gateway = await start(chat_page=True)
    url = f"http://127.0.0.1:{gateway.port}/"
    tag = (await client.session.get(url)).headers["ETag"]
    again = await client.session.get(url, headers={"If-None-Match": tag})
    assert (again.status, await again.read()) == (304, b"")
    other = await client.session.get(url, headers={"If-None-Match": '"other"'})
    assert other.status == 200
    head = await client.session.head(url)
    assert (head.status, head.headers["ETag"], await head.read()) == (200, tag, b"")


@pytest.mark.parametrize("kind", ["script", "style"])
def test_the_policy_names_the_hash_of_each_block(kind: str) -> None:
    (block,) = re.findall(rf"<{kind}>(.*?)</{kind}>", TEXT, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(block.encode()).digest()).decode()
    assert f"{kind}-src 'sha256-{digest}'" in build_policy(TEXT)


def test_the_page_is_one_file_without_another_host_or_a_handler_in_its_markup() -> None:
    assert re.findall(r"<(?:script|style|link)\b[^>]*\bsrc=", TEXT) == []
    assert re.findall(r'(?:href|src|action)="(?!data:|#)', TEXT) == []
    assert re.findall(r"https?://(?!www\.w3\.org/2000/svg)", TEXT) == []
    assert re.findall(r"<[^>]*\s(?:on\w+|style)=", TEXT.partition("<script>")[0]) == []
    assert re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|localStorage|\beval\b", TEXT) == []
