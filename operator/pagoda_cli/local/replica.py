"""One replica on this machine: its processes, whether they are ready, and how it ends without cutting a stream."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path

import aiohttp

from pagoda_cli.local.ending import describe_end
from pagoda_cli.local.plan import ProcessSpec, ReplicaPlan
from pagoda_cli.local.process import Hooks, Supervised
from pagoda_cli.local.yaml_words import put_in_yaml_words
from pagoda_guard.tasks import begin

POLL_SECONDS = 0.2
STOP_SECONDS = 10.0
ADMIN_HEADERS = {"X-Pagoda-Admin": "1"}
"""The gateway asks for it: a page of another site cannot send it."""


class SetupError(Exception):
    """An init process failed; the message is its last log line, which says all."""


class StartError(Exception):
    """A process that never was ready would never be; the message says why."""


class Replica:
    """The running processes of a ReplicaPlan."""

    def __init__(self, plan: ReplicaPlan, logs: Path, hooks: Hooks) -> None:
        self.plan = plan
        self._logs = logs
        self._hooks = hooks
        self._server = self._supervise(plan.server)
        self._gateway = self._supervise(plan.gateway)

    async def run_setup(self, on_line: Callable[[str], None]) -> None:
        """Runs the init processes in order. Raises SetupError."""
        for spec in self.plan.setup:
            process = self._supervise(spec)
            try:
                code = await process.run_once(on_line)
            except asyncio.CancelledError:
                await process.stop(STOP_SECONDS)
                raise
            except OSError as error:
                raise SetupError(f"{spec.name} cannot be started: {error}") from error
            if code != 0:
                said = put_in_yaml_words(process.last_line) if code > 0 else ""
                raise SetupError(said or f"{spec.name}: {describe_end(code)}")

    @property
    def ready_url(self) -> str:
        """Returns the URL of this replica's own gateway; at the public port any of them answers."""
        return f"{self.plan.admin_url}/ready"

    async def start(self) -> None:
        """Starts the server, waits until its model is loaded, then lets the gateway accept."""
        await _start(self._server, wait_ready("http://server/ready", self.plan.folders.socket))
        await _start(self._gateway, wait_ready(self.ready_url))

    async def retire(self, drain_seconds: int) -> None:
        """Takes no more requests, lets those that are queued or running finish, and ends."""
        await drain(self.plan.admin_url, drain_seconds)
        await self._gateway.stop(STOP_SECONDS)
        await self._server.stop(STOP_SECONDS)

    async def kill(self) -> None:
        await asyncio.gather(self._gateway.stop(0.5), self._server.stop(0.5))

    def _supervise(self, spec: ProcessSpec) -> Supervised:
        return Supervised(spec, self._logs / f"{spec.name}.log", self._hooks)


async def _start(process: Supervised, ready: Coroutine[None, None, None]) -> None:
    """Starts the process and returns when it is ready. Raises StartError when it never will be."""
    process.start()
    waits = begin(ready), begin(process.wait_hopeless())
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        if waits[1].done():
            raise StartError(f"{process.spec.name}: {put_in_yaml_words(waits[1].result())}")
        waits[0].result()
    finally:
        for wait in waits:
            wait.cancel()
    process.mark_ready()


async def wait_ready(url: str, socket: Path | None = None) -> None:
    """Returns once `url` answers 200; the processes' supervisor reports what goes wrong meanwhile."""
    while not await is_ready(url, socket):
        await asyncio.sleep(POLL_SECONDS)


async def is_ready(url: str, socket: Path | None = None) -> bool:
    connector = aiohttp.UnixConnector(str(socket)) if socket is not None else aiohttp.TCPConnector()
    timeout = aiohttp.ClientTimeout(total=5)
    try:
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
            session.get(url) as response,
        ):
            return response.status == 200
    except (aiohttp.ClientError, OSError, TimeoutError):
        return False


async def drain(admin_url: str, seconds: int) -> None:
    """Asks the gateway to finish; one that is not there has nothing to finish."""
    url = f"{admin_url}/drain?seconds={seconds}"
    timeout = aiohttp.ClientTimeout(total=seconds + 5)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, headers=ADMIN_HEADERS) as session,
            session.post(url) as response,
        ):
            await response.read()
    except (aiohttp.ClientError, OSError, TimeoutError):
        return
