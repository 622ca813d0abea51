"""A real Chromium that a test drives as a person does, with keys and clicks, over the DevTools protocol.

What the page logs as an error and every address that it asks for are kept, so that a test can say that there was none.
"""

import asyncio
import base64
import itertools
import json
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
OPTIONS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--mute-audio"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--remote-debugging-port=0"),
)
PATIENCE_SECONDS = 30.0
LOOK_SECONDS = 0.02
KEYS = {"Enter": 13, "Escape": 27, "Tab": 9}
SHIFT = 8


def find_browser() -> str | None:
    return next(filter(None, map(shutil.which, BROWSERS)), None)


@dataclass
class Page:
    """One tab."""

    socket: aiohttp.ClientWebSocketResponse
    session_id: str = ""
    errors: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    """The addresses of all requests of the page."""
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)
    _answers: dict[int, "asyncio.Future[Any]"] = field(default_factory=dict)

    @property
    def hosts(self) -> set[str]:
        return {urlsplit(url).netloc for url in self.asked if not url.startswith("data:")}

    async def listen(self) -> None:
        async for message in self.socket:
            said = json.loads(message.data)
            if "id" in said:
                self._answers.pop(said["id"]).set_result(said)
            else:
                self._note(said["method"], said["params"])

    def _note(self, method: str, params: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.asked.append(params["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(params["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.errors.append(json.dumps(params["args"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.errors.append(params["entry"]["text"])

    async def call(self, method: str, **params: Any) -> Any:
        number = next(self._numbers)
        self._answers[number] = asyncio.get_running_loop().create_future()
        session = {"sessionId": self.session_id} if self.session_id else {}
        await self.socket.send_json({"id": number, "method": method, "params": params, **session})
        async with asyncio.timeout(PATIENCE_SECONDS):
            said = await self._answers[number]
        assert "error" not in said, (method, said["error"])
        return said["result"]

    async def open(self, url: str) -> None:
        await self.call("Page.navigate", url=url)
        await self.until("document.readyState === 'complete'")

    async def read(self, script: str) -> Any:
        """Returns the value of an expression in the page, which its policy holds for too."""
        options = {"returnByValue": True, "awaitPromise": True, "allowUnsafeEvalBlockedByCSP": False}
        said = await self.call("Runtime.evaluate", expression=script, **options)
        assert "exceptionDetails" not in said, said
        return said["result"].get("value")

    async def text(self, selector: str) -> str:
        return str(await self.read(f"document.querySelector({selector!r})?.innerText ?? ''"))

    async def texts(self, selector: str) -> list[str]:
        return list(await self.read(f"[...document.querySelectorAll({selector!r})].map((one) => one.innerText)"))

    async def until(self, script: str) -> None:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not await self.read(f"!!({script})"):
                    await asyncio.sleep(LOOK_SECONDS)
        except TimeoutError:
            raise AssertionError(f"never true: {script}; the page: {await self.text('body')!r} {self.errors}") from None

    async def until_shown(self, selector: str, words: str = "") -> None:
        await self.until(f"(document.querySelector({selector!r})?.innerText ?? '').includes({json.dumps(words)})")

    async def type(self, text: str) -> None:
        await self.call("Input.insertText", text=text)

    async def press(self, key: str, *, shift: bool = False) -> None:
        named = {"key": key, "code": key, "windowsVirtualKeyCode": KEYS[key], "modifiers": SHIFT if shift else 0}
        text = {"text": "\r"} if key == "Enter" else {}
        await self.call("Input.dispatchKeyEvent", type="keyDown", **named, **text)
        await self.call("Input.dispatchKeyEvent", type="keyUp", **named)

    async def click(self, selector: str) -> None:
        """Clicks where the element is, which must be what a person would hit there."""
        x, y, is_hit = await self.read(
            f"""(() => {{ const one = document.querySelector({selector!r}); one.scrollIntoView({{block: "nearest"}});
            const r = one.getBoundingClientRect(), x = r.x + r.width / 2, y = r.y + r.height / 2;
            return [x, y, one.contains(document.elementFromPoint(x, y))]; }})()"""
        )
        assert is_hit, f"{selector} is not what is hit at {x}, {y}"
        for kind in ("mousePressed", "mouseReleased"):
            await self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    async def look(
        self, *, width: int = 1180, height: int = 780, is_phone: bool = False, scheme: str = "light"
    ) -> None:
        """Sets the size of the window and the colours that the reader's system asks for."""
        size = {"width": width, "height": height, "deviceScaleFactor": 2, "mobile": is_phone}
        await self.call("Emulation.setDeviceMetricsOverride", **size)
        await self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    async def draw(self, png: Path) -> None:
        said = await self.call("Page.captureScreenshot", format="png")
        png.write_bytes(base64.b64decode(said["data"]))


async def _read_port(profile: Path) -> int:
    file = profile / "DevToolsActivePort"
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not file.exists() or len(lines := file.read_text().splitlines()) < 2:
            await asyncio.sleep(LOOK_SECONDS)
    return int(lines[0])


@asynccontextmanager
async def browse(browser: str) -> AsyncIterator[Page]:
    """Yields a tab of a browser of its own, which ends with it."""
    with tempfile.TemporaryDirectory(prefix="page-", ignore_cleanup_errors=True) as folder:
        quiet = asyncio.subprocess.DEVNULL
        process = await asyncio.create_subprocess_exec(
            browser, *OPTIONS, f"--user-data-dir={folder}", "about:blank", stdout=quiet, stderr=quiet
        )
        try:
            async with aiohttp.ClientSession() as session, _connect(session, await _read_port(Path(folder))) as page:
                yield page
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


@asynccontextmanager
async def _connect(session: aiohttp.ClientSession, port: int) -> AsyncIterator[Page]:
    async with session.get(f"http://127.0.0.1:{port}/json/list") as listed:
        tab = next(one for one in await listed.json() if one["type"] == "page")
    async with session.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=0) as socket:
        page = Page(socket)
        listening = asyncio.create_task(page.listen())
        try:
            for domain in ("Page", "Runtime", "Log", "Network"):
                await page.call(f"{domain}.enable")
            await page.look()
            yield page
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
