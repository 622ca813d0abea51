"""A reverse proxy between an operator and a real API server that does harm in one way at a time.

A line of JSON on its standard input names the fault, `{"fault": "refuse", "code": 409}`; it answers each line with
one: how often the fault has struck so far. It ends when its standard input does.
"""

import asyncio
import json
import ssl
import sys
from contextlib import suppress
from pathlib import Path

import aiohttp
from aiohttp import web
from yarl import URL

from .faults import Cut, End, Fault, build_fault, is_watch

PORT = 6400
API_SERVER = "https://192.0.2.1:6443"
LONGEST_LINE_BYTES = 1 << 22
NOT_FORWARDED = ("host", "content-length")


class Proxy:
    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.fault = Fault()
        self._session = session
        self._site: web.TCPSite | None = None
        self._open: set[asyncio.Transport] = set()
        """Connections with a request that is not answered yet."""
        app = web.Application(client_max_size=LONGEST_LINE_BYTES)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)

    async def set_up(self) -> None:
        await self._runner.setup()
        await self.become(self.fault)

    async def become(self, fault: Fault) -> None:
        self.fault = fault
        if fault.listens and self._site is None:
            self._site = web.TCPSite(self._runner, "127.0.0.1", PORT, reuse_address=True)
            await self._site.start()
        elif not fault.listens and self._site is not None:
            await self._site.stop()
            self._site = None
        if fault.ends_watches or not fault.listens:
            for transport in tuple(self._open):
                transport.abort()

    async def clean_up(self) -> None:
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        transport = request.transport
        assert transport is not None
        self._open.add(transport)
        try:
            if not self.fault.listens:  # a connection of before
                raise Cut
            if (refusal := self.fault.refuse(request)) is not None:
                return refusal
            return await self._forward(request)
        except (Cut, aiohttp.ClientError, ConnectionError):
            transport.abort()
            return web.Response()
        finally:
            self._open.discard(transport)

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        headers = {key: value for key, value in request.headers.items() if key.lower() not in NOT_FORWARDED}
        headers["Accept-Encoding"] = "identity"
        url, body = URL(request.raw_path, encoded=True), await request.read() or None
        asked = self._session.request(request.method, url, headers=headers, data=body)
        async with asked as answer:
            if is_watch(request) and answer.status == 200:
                return await self._show(request, answer)
            text = await answer.read()
            self.fault.lose(request)
            kept = {key: value for key, value in answer.headers.items() if key in ("Content-Type", "Retry-After")}
            return web.Response(status=answer.status, body=text, headers=kept)

    async def _show(self, request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        shown = web.StreamResponse(headers={"Content-Type": "application/json"})
        await shown.prepare(request)
        with suppress(End):
            async for line in answer.content:
                for part in self.fault.events(line):
                    await shown.write(part)
        return shown


def build_tls(pki: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
    context.load_cert_chain(pki / "admin.crt", pki / "admin.key")
    return context


async def read_lines() -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


async def main(pki: Path) -> None:
    connector = aiohttp.TCPConnector(ssl=build_tls(pki), limit=0)
    session = aiohttp.ClientSession(
        API_SERVER,
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=None),
        read_bufsize=LONGEST_LINE_BYTES,
        auto_decompress=False,
    )
    async with session:
        proxy = Proxy(session)
        await proxy.set_up()
        async for line in await read_lines():
            if asked := json.loads(line):
                await proxy.become(build_fault(**asked))
            print(proxy.fault.struck, flush=True)
        await proxy.clean_up()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main(Path(sys.argv[1])))
