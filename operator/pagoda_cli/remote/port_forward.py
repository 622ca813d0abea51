"""A way from this machine to the pods of a model: a port here, whose connections the API server carries on.

Each connection is a websocket to one ready pod, taken in turns (`portforward`, protocol v4.channel.k8s.io: a byte of
channel before each frame, 0 for data and 1 for errors). Bytes are pumped as fast as the slower side takes them.
"""

import asyncio
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any

import aiohttp

from pagoda_cli.remote.connection import Cluster
from pagoda_cli.remote.errors import ClusterError, explain_refusal
from pagoda_cli.remote.observe import POD
from pagoda_guard.tasks import begin
from pagoda_operator.kube.objects import MODEL_DEPLOYMENT_LABEL
from pagoda_operator.kube.pods import is_made_by, is_ready

PROTOCOL = "v4.channel.k8s.io"
DATA, ERROR = 0, 1
CHUNK_BYTES = 64 * 1024
PODS_KNOWN_SECONDS = 5.0


class ReadyPods:
    """The ready pods of a model in turns, looked up again when the last look is old. Raises ClusterError for none."""

    def __init__(self, cluster: Cluster, name: str, namespace: str, monotonic: Callable[[], float] = time.monotonic):
        self._cluster, self._name, self._namespace, self._monotonic = cluster, name, namespace, monotonic
        self._names: list[str] = []
        self._read_at = -PODS_KNOWN_SECONDS
        self._turn = 0

    def take(self) -> str:
        """Returns the name of the next pod."""
        if not self._names or self._monotonic() - self._read_at >= PODS_KNOWN_SECONDS:
            labels = f"{MODEL_DEPLOYMENT_LABEL}={self._name}"
            pods = self._cluster.list(POD, self._namespace, labels=labels)
            ours = [pod for pod in pods if is_made_by(pod, self._name) and is_ready(pod)]
            self._names, self._read_at = sorted(pod["metadata"]["name"] for pod in ours), self._monotonic()
        if not self._names:
            why = f"pagoda why {self._name} -n {self._namespace} says why"
            raise ClusterError(f"no pod of {self._namespace}/{self._name} is ready: {why}")
        self._turn += 1
        return self._names[self._turn % len(self._names)]

    def forget(self) -> None:
        """Looks the pods up again at the next turn: one of them did not answer."""
        self._names = []


class PortForward:
    """The forwarding, as a context: its `url` answers as long as it is open. It lives in a thread of its own."""

    def __init__(self, cluster: Cluster, pods: ReadyPods, namespace: str, port: int) -> None:
        self._cluster, self._pods, self._namespace, self._port = cluster, pods, namespace, port
        self._loop: asyncio.AbstractEventLoop
        self._thread: threading.Thread
        self._server: asyncio.Server | None = None
        self._session: aiohttp.ClientSession | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self.url = ""
        self.trouble: ClusterError | None = None
        """Why the last connection could not be made."""

    def __enter__(self) -> "PortForward":
        self._pods.take()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="port-forward", daemon=True)
        self._thread.start()
        self._do(self._open())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with suppress(Exception):  # what is left of a connection
            self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(self._cluster.flags.request_timeout_seconds + 5)

    async def _open(self) -> None:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None))
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _close(self) -> None:
        assert self._server is not None and self._session is not None
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._session.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            pod = await asyncio.to_thread(self._pods.take)
            async with await self._connect(pod) as websocket:
                await _pump(websocket, reader, writer)
        except ClusterError as error:
            self.trouble = error
            self._pods.forget()
        except (aiohttp.ClientError, OSError, asyncio.CancelledError):
            self._pods.forget()
        finally:
            self._connections.discard(task)
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _connect(self, pod: str) -> aiohttp.ClientWebSocketResponse:
        assert self._session is not None
        url, headers, context = await asyncio.to_thread(self._prepare, pod)
        limit = self._cluster.flags.request_timeout_seconds
        try:
            async with asyncio.timeout(limit):
                return await self._session.ws_connect(
                    url, protocols=(PROTOCOL,), headers=headers, ssl=context, max_msg_size=0, autoclose=True
                )
        except aiohttp.WSServerHandshakeError as error:
            resource = "pods/portforward"
            raise explain_refusal(
                error.status, error.message, verb="create", resource=resource, namespace=self._namespace
            ) from error
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise ClusterError(f"no way to pod {pod}: {error or 'no answer'}: try again") from error

    def _prepare(self, pod: str) -> tuple[str, Any, ssl.SSLContext | bool]:
        path = f"/api/v1/namespaces/{self._namespace}/pods/{pod}/portforward?ports={self._port}"
        headers = self._cluster.build_headers("GET", path, "*/*")  # NB: a kubelet refuses any other media type (406)
        configuration = self._cluster.api_client.configuration
        if not self._cluster.host.startswith("https"):
            return self._cluster.host + path, headers, True
        context = ssl.create_default_context(cafile=configuration.ssl_ca_cert or None)
        if configuration.ca_cert_data:
            context.load_verify_locations(cadata=configuration.ca_cert_data)
        if not configuration.verify_ssl:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if configuration.cert_file:
            context.load_cert_chain(configuration.cert_file, configuration.key_file)
        return self._cluster.host + path, headers, context


async def _pump(
    websocket: aiohttp.ClientWebSocketResponse, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Copies both ways until one side ends; then the connection has ended, as portforward knows no half of one."""
    both = [begin(_send(websocket, reader)), begin(_receive(websocket, writer))]
    try:
        done, _ = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in both:
            task.cancel()
        await asyncio.gather(*both, return_exceptions=True)


async def _send(websocket: aiohttp.ClientWebSocketResponse, reader: asyncio.StreamReader) -> None:
    while data := await reader.read(CHUNK_BYTES):
        await websocket.send_bytes(bytes((DATA,)) + data)


async def _receive(websocket: aiohttp.ClientWebSocketResponse, writer: asyncio.StreamWriter) -> None:
    begun: set[int] = set()
    async for message in websocket:
        if message.type is not aiohttp.WSMsgType.BINARY or not message.data:
            continue
        channel = message.data[0]
        if channel not in begun:  # the first frame of a channel holds the port, and nothing else
            begun.add(channel)
        elif channel == ERROR:
            said = message.data[1:].decode("utf-8", "replace")
            raise ClusterError(f"the pod took no connection: {said}")
        else:
            writer.write(message.data[1:])
            await writer.drain()
