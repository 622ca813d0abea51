"""An API server for what needs a kubelet: objects by path, logs, and websockets of `portforward` to a port here."""

import asyncio
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from aiohttp import WSMsgType, web

from pagoda_cli.remote.flags import ClusterFlags
from pagoda_cli.remote.kubeconfig import connect

FORBIDDEN = "forbidden"


class PodsApi:
    """`objects` maps a path to what is answered there, `FORBIDDEN` or a text; what is not in it is not found."""

    def __init__(self, objects: Mapping[str, Any], *, forward_to: int = 0, error: str = "") -> None:
        self.objects, self.forward_to, self.error = dict(objects), forward_to, error
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.path_qs, dict(request.headers)))
        if request.path.endswith("/portforward"):
            return await self._forward(request)
        found = self.objects.get(request.path_qs, self.objects.get(request.path))
        if found == FORBIDDEN:
            return web.json_response({"message": "no"}, status=403)
        if found is None:
            return web.json_response({"message": "not found"}, status=404)
        return web.Response(text=found if isinstance(found, str) else json.dumps(found))

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Accept", "*/*") != "*/*":  # as the API server does: a stream is none of its media types
            return web.Response(status=406)
        websocket = web.WebSocketResponse(protocols=("v4.channel.k8s.io",))
        await websocket.prepare(request)
        port = int(request.query["ports"]).to_bytes(2, "little")
        for channel in (b"\x00", b"\x01"):
            await websocket.send_bytes(channel + port)
        if self.error:
            await websocket.send_bytes(b"\x01" + self.error.encode())
            await websocket.close()
            return websocket
        reader, writer = await asyncio.open_connection("127.0.0.1", self.forward_to)

        async def back() -> None:
            while data := await reader.read(65536):
                await websocket.send_bytes(b"\x00" + data)
            await websocket.close()

        task = asyncio.ensure_future(back())
        async for message in websocket:
            if message.type is WSMsgType.BINARY and message.data[0] == 0:
                writer.write(message.data[1:])
                await writer.drain()
        task.cancel()
        writer.close()
        return websocket


@contextmanager
def serving(api: PodsApi) -> Iterator[PodsApi]:
    """Serves it on a port of this machine, in a thread of its own."""
    loop = asyncio.new_event_loop()

    async def start() -> web.AppRunner:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", api.answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        api.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        return runner

    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    runner = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    try:
        yield api
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def connect_to(api: PodsApi, **flags: Any) -> Any:
    """Returns the cluster that the API server stands for."""
    return connect(ClusterFlags(server=api.url, token="t", namespace="models", **flags))
