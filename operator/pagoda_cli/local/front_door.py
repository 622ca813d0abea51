"""The one public port of a `pagoda run`: a listening socket that outlives every replica and every roll-over.

The gateways inherit it and accept while they can serve. While none can, connections would wait unanswered: then this
process answers 503 with Retry-After, as the ingress of a cluster would.
"""

import asyncio
import errno
import os
import re
import socket
from collections.abc import Callable, Sequence

import aiohttp
from aiohttp import web

from pagoda_cli.local.public_socket import PublicSocket
from pagoda_guard.openai_errors import ErrorType, build_error
from pagoda_guard.tasks import Tasks

POLL_SECONDS = 0.2
ANSWER_SECONDS = 5.0
SURE_AFTER_POLLS = 2
"""NB: one poll may ask a new gateway before it is ready and an old one after it began to drain."""
RETRY_AFTER_SECONDS = 2
OWN_TROUBLE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""What this process lacks says nothing of a gateway."""

ReadyUrls = Callable[[], Sequence[str]]
OnCount = Callable[[int, int], None]

HERE = r"(localhost|127(\.[0-9]{1,3}){3}|\[::1\])(:[0-9]{1,5})?"
FROM_HERE = re.compile(HERE, re.ASCII | re.IGNORECASE)
IS_LOCAL = web.AppKey("is_local", bool)
ORIGIN_HERE = re.compile(rf"https?://{HERE}", re.ASCII | re.IGNORECASE)


async def answer_503(request: web.Request) -> web.Response:
    if request.app[IS_LOCAL] and not is_from_here(request.headers.get("Host", ""), request.headers.get("Origin")):
        message = "Host or Origin is not of this machine: ask http://127.0.0.1 or http://localhost."
        return _refuse(403, "forbidden_host", "invalid_request_error", message, {})
    message = "No replica is ready: the model is loading or restarting. Try again."
    return _refuse(503, "not_ready", "server_error", message, {"Retry-After": str(RETRY_AFTER_SECONDS)})


def is_from_here(host: str, origin: str | None) -> bool:
    """Returns whether a client of this machine asks: no page of another site, no name rebound to this address."""
    return bool(FROM_HERE.fullmatch(host)) and (origin is None or bool(ORIGIN_HERE.fullmatch(origin)))


def _refuse(status: int, code: str, error_type: ErrorType, message: str, headers: dict[str, str]) -> web.Response:
    error = build_error(message, error_type=error_type, code=code)
    response = web.json_response(error, status=status, headers=headers | {"Connection": "close"})
    response.force_close()
    return response


class FrontDoor:
    """`ready_urls` are those of all gateways there are; each poll tells `on_count` how many are ready of how many."""

    def __init__(self, public: PublicSocket, ready_urls: ReadyUrls, on_count: OnCount) -> None:
        self.public = public
        self._ready_urls = ready_urls
        self._on_count = on_count
        self._none_ready_polls = 0
        self._site: web.SockSite | None = None
        app = web.Application()
        app[IS_LOCAL] = public.is_local
        app.router.add_route("*", "/{tail:.*}", answer_503)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        self._tasks = Tasks()

    async def start(self) -> None:
        await self._runner.setup()
        await self._answer_503()
        self._tasks.keep("door", self._watch)

    async def stop(self) -> None:
        """Closes the port; nobody is told to come again."""
        await self._tasks.stop()
        self.public.listener.close()
        await self._runner.cleanup()

    async def open(self) -> None:
        """Leaves the connections to the gateways, one of which is ready."""
        self._none_ready_polls = 0
        if self._site is not None:
            site, self._site = self._site, None
            await site.stop()

    async def _answer_503(self) -> None:
        if self._site is None:
            self._site = web.SockSite(self._runner, socket.socket(fileno=os.dup(self.public.fd)))
            await self._site.start()

    async def _watch(self) -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS)) as session:
            while True:
                await asyncio.sleep(POLL_SECONDS)
                urls = list(self._ready_urls())
                await self._follow(urls, await asyncio.gather(*(read_ready(session, url) for url in urls)))

    async def _follow(self, urls: list[str], answers: list[bool | None]) -> None:
        ready = answers.count(True)
        if not ready and (None in answers or urls != list(self._ready_urls())):
            return
        self._on_count(ready, len(urls))  # first: what follows may find no file descriptor
        if ready:
            await self.open()
            return
        self._none_ready_polls += 1
        if self._none_ready_polls >= SURE_AFTER_POLLS:
            await self._answer_503()


async def read_ready(session: aiohttp.ClientSession, url: str) -> bool | None:
    """Returns whether a gateway is ready; None when it answers too late to tell, as it may on a busy machine."""
    try:
        async with session.get(url) as response:
            return response.status == 200
    except TimeoutError:
        return None
    except (aiohttp.ClientError, OSError) as error:
        return None if getattr(error, "errno", None) in OWN_TROUBLE else False
