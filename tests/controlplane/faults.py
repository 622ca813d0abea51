"""The kinds of harm that the fault proxy does, one at a time."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from aiohttp import web

WRITES = ("POST", "PUT", "PATCH", "DELETE")
BEATS = ("/leases/", "/events")
"""Writes that go on beside the reconciles."""


class Cut(Exception):
    """The connection ends here."""


class End(Exception):
    """The answer ends here, as if it were whole."""


class Fault:
    """No fault; the others change one thing of it."""

    listens = True
    ends_watches = False
    """Whether the watches of before are to be asked for again, and meet the fault so."""
    struck = 0

    def refuse(self, request: web.Request) -> web.Response | None:
        """An answer instead of the API server's; raises Cut when the request is never to reach it."""
        return None

    def lose(self, request: web.Request) -> None:
        """Raises Cut when the API server's answer is never to reach the operator."""

    def events(self, line: bytes) -> Iterator[bytes]:
        """What a watch shows where the API server sent this line; raises Cut to end it in the middle of a line."""
        yield line


def build_status(code: int) -> dict[str, Any]:
    return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": "a fault"}


def is_watch(request: web.Request) -> bool:
    return request.query.get("watch") == "true"


def is_write(request: web.Request) -> bool:
    return request.method in WRITES and not any(part in request.path for part in BEATS)


class Every(Fault):
    """Strikes at every n-th request that it concerns, beginning with the first."""

    def __init__(self, *, every: int = 2, of: str = "all") -> None:
        self._every, self._of, self._seen = every, of, 0
        self.ends_watches = of != "writes"

    def strikes(self, request: web.Request) -> bool:
        if not {"all": True, "writes": is_write(request), "watches": is_watch(request)}[self._of]:
            return False
        self._seen += 1
        hit = self._seen % self._every == 1 % self._every
        self.struck += hit
        return hit


class Refuse(Every):
    """Answers with that code."""

    def __init__(self, *, code: int, retry_after_seconds: int | None = None, **which: Any) -> None:
        super().__init__(**which)
        self._code = code
        self._headers = {} if retry_after_seconds is None else {"Retry-After": str(retry_after_seconds)}

    def refuse(self, request: web.Request) -> web.Response | None:
        if not self.strikes(request):
            return None
        return web.json_response(build_status(self._code), status=self._code, headers=self._headers)


class Reset(Every):
    """Cuts the connection before the API server has seen the request."""

    def refuse(self, request: web.Request) -> web.Response | None:
        if self.strikes(request):
            raise Cut
        return None


class Lose(Every):
    """Cuts the connection when the API server has done what it was asked for."""

    def lose(self, request: web.Request) -> None:
        if self.strikes(request):
            raise Cut


class NoListener(Fault):
    """Nobody listens, so that nobody can count but the clock: it strikes once a second."""

    listens = False

    def __init__(self) -> None:
        self._began = time.monotonic()

    @property
    def struck(self) -> int:  # type: ignore[override]  # nobody else counts
        return int(time.monotonic() - self._began)


class Kill(Fault):
    """Kills the operator when the API server has carried out its n-th write, before it hears of that."""

    def __init__(self, *, pid: int, writes: int) -> None:
        self._pid, self._left = pid, writes

    def lose(self, request: web.Request) -> None:
        self._left -= is_write(request)
        if self._left == 0 and not self.struck:
            self.struck += 1
            os.kill(self._pid, signal.SIGKILL)


class Stall(Fault):
    """Watches stay open and show nothing."""

    def events(self, line: bytes) -> Iterator[bytes]:
        self.struck += 1
        yield from ()


class Expire(Fault):
    """Every n-th event of one type (or of all) is lost, and an error comes instead: 410 if a version is too old."""

    def __init__(self, *, code: int = 410, every: int = 4, of: str = "") -> None:
        self._code, self._every, self._type, self._seen = code, every, of, 0

    def events(self, line: bytes) -> Iterator[bytes]:
        self._seen += self._type in ("", json.loads(line)["type"])
        if self._seen <= self._every * self.struck + self._every - 1:
            yield line
        else:
            self.struck += 1
            yield json.dumps({"type": "ERROR", "object": build_status(self._code)}).encode() + b"\n"


class Drop(Fault):
    """Watches end in the middle of every second event, as if that were all or by a cut of the connection."""

    def __init__(self, *, by: type[Exception] = Cut) -> None:
        self._seen, self._end = 0, by

    def events(self, line: bytes) -> Iterator[bytes]:
        self._seen += 1
        if self._seen % 2:
            yield line
            return
        self.struck += 1
        yield line[: len(line) // 2]
        raise self._end


class Replay(Fault):
    """Every event comes twice, and then once more what the one before it said of that object."""

    def __init__(self) -> None:
        self._before: dict[str, bytes] = {}

    def events(self, line: bytes) -> Iterator[bytes]:
        yield line
        event = json.loads(line)
        if event["type"] not in ("ADDED", "MODIFIED", "DELETED"):
            return
        yield line
        uid = event["object"]["metadata"]["uid"]
        if uid in self._before:
            self.struck += 1
            yield self._before[uid]
        self._before[uid] = line


FAULTS: dict[str, Callable[..., Fault]] = {
    "none": Fault,
    "refuse": Refuse,
    "reset": Reset,
    "lose": Lose,
    "no listener": NoListener,
    "kill": Kill,
    "stall": Stall,
    "expire": Expire,
    "drop": Drop,
    "shorten": partial(Drop, by=End),
    "replay": Replay,
}


def build_fault(*, fault: str, **how: Any) -> Fault:
    return FAULTS[fault](**how)
