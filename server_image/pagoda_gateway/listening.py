"""Listening for clients, each of whose connections is one of ours, and looking after all of them."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from pagoda_gateway.connection import Connection, Judge
from pagoda_gateway.connections import Connections
from pagoda_gateway.cors import NO_CORS, Cors
from pagoda_gateway.failure_log import FailureLog
from pagoda_gateway.settings import Address, InheritedSocket
from pagoda_guard.shared_listener import SharedListener

SWEEP_SECONDS = 1.0
BACKLOG = 1024
SHUTDOWN_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class ListenerPolicy:
    """The rules that every connection of one listener is held to."""

    connections: Connections
    judge: Judge
    count_refused: Callable[[str], None]
    failures: FailureLog
    cors: Cors = NO_CORS


class Listening:
    """One listener of an app."""

    def __init__(self, app: web.Application, policy: ListenerPolicy) -> None:
        self._policy = policy
        # NB: handler_cancellation is what makes a client's disconnect reach the queue and the server.
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=SHUTDOWN_SECONDS)
        self._server: asyncio.Server | None = None
        self._sweep_timer: asyncio.TimerHandle | None = None

    async def start(self, address: Address | InheritedSocket, shared: SharedListener | None = None) -> int:
        """Begins to listen. Returns the port."""
        await self._runner.setup()
        self._sweep()
        if isinstance(address, InheritedSocket):
            assert shared is not None
            shared.serve(self._build_connection)
            return shared.port
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            self._build_connection, address.host, address.port, backlog=BACKLOG, reuse_address=True
        )
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
        await self._runner.cleanup()

    def _build_connection(self) -> Connection:
        assert self._runner.server is not None
        policy = self._policy
        return Connection(
            self._runner.server,
            connections=policy.connections,
            judge=policy.judge,
            count=policy.count_refused,
            cors=policy.cors,
            failures=policy.failures,
        )

    def _sweep(self) -> None:
        self._sweep_timer = asyncio.get_running_loop().call_later(SWEEP_SECONDS, self._sweep)
        self._policy.connections.sweep()
