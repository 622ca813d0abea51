"""The first minutes of a new user: `pagoda run bundled://pagoda-tiny`, and a browser at the address that it prints.

`make pictures` keeps what is seen for the documentation, in the folder that PICTURES names.
"""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from pagoda_cli.local.public_socket import find_free_port
from tests.contract.page.browser import Page

pytestmark = pytest.mark.asyncio(loop_scope="package")
PICTURES = os.environ.get("PICTURES")
START_SECONDS = 180
STOPS = 10
DONE = "document.querySelector('#turns > article:last-of-type')?.ariaBusy === 'false'"
FONT = """document.documentElement.style.setProperty('--text', 'Inter, "Liberation Sans", Arial, sans-serif')"""
"""The same letters on whatever machine draws: what `system-ui` is differs most."""


@asynccontextmanager
async def run_tiny(folder: Path) -> AsyncIterator[str]:
    """Yields the address of the page that `pagoda run` prints."""
    paths = ":".join(path for path in sys.path if path.endswith(("operator", "server_image")))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pagoda_cli.main", "run", "bundled://pagoda-tiny", "--port", str(find_free_port())),
        env=os.environ | {"PYTHONPATH": paths, "XDG_CACHE_HOME": str(folder / "cache"), "TMPDIR": str(folder)},
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    said = ""
    try:
        async with asyncio.timeout(START_SECONDS):
            while not (found := re.search(r" ChatPage +(\S+)", said)):
                line = await process.stderr.readline()
                assert line, said
                said += line.decode()
        yield found[1]
    finally:
        process.terminate()
        await process.communicate()


@pytest_asyncio.fixture(loop_scope="package", scope="module")
async def url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    async with run_tiny(tmp_path_factory.mktemp("run")) as address:
        yield address


async def draw(page: Page, name: str) -> None:
    if PICTURES is not None:
        folder = Path(PICTURES) / "chat"
        folder.mkdir(exist_ok=True)
        await page.draw(folder / f"{name}.png")


async def ask(page: Page, text: str) -> None:
    await page.click("#prompt")
    await page.type(text)
    await page.press("Enter")


async def test_the_first_minutes_of_a_new_user(browser: Page, url: str) -> None:
    page = browser
    page.errors.clear()
    page.asked.clear()
    await page.look()
    await page.open(url)
    await page.read(FONT)
    await page.until_shown("#model", "pagoda-tiny")

    await ask(page, "Why is the sky blue?")
    await page.until(DONE)
    assert "blue" in await page.text(".body")
    assert re.search(r"[\d.,]+ tokens/s · first token [\d.]+ m?s · \d+ tokens", await page.text(".foot"))

    await ask(page, "Tell me a story about a fox.")
    await page.until(DONE)
    assert len(await page.texts(".question")) == 2
    await draw(page, "light")
    await page.look(scheme="dark")
    await draw(page, "dark")
    await page.look(width=360, height=680, is_phone=True)
    await page.until("document.querySelector('main').scrollWidth <= innerWidth")
    await draw(page, "phone")
    await page.look()

    await page.click("#open")
    await page.click("#max_tokens")
    await page.type("3")
    await page.click("#done")
    await ask(page, "Tell me a story about a bear.")
    await page.until(DONE)
    assert "cut at the maximum length" in (await page.texts(".foot"))[-1]
    assert page.errors == [] and page.hosts == {urlsplit(url).netloc}


async def test_a_story_is_stopped_by_escape(browser: Page, url: str) -> None:
    await browser.open(url)
    await browser.until_shown("#model", "pagoda-tiny")
    await browser.read("sessionStorage.clear()")
    for _ in range(STOPS):
        await ask(browser, "Tell me a long story about a fox and a bear.")
        await browser.until("[...document.querySelectorAll('.body')].at(-1)?.innerText")
        await browser.press("Escape")
        await browser.until(DONE)
        if "stopped" in (await browser.texts(".foot"))[-1]:
            return
    pytest.fail("every story ended before Escape was pressed")
