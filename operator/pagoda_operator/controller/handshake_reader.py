"""Keeps what ingress controllers show for the hosts that are to have a certificate, beside the reconciles.

What was seen counts only when it was seen twice: a controller needs a moment to take up an Ingress or a Secret. Where
nobody answers, nothing is known, and nothing is said.
"""

import asyncio
import ipaddress
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

from pagoda_guard.parsing import BadInput
from pagoda_guard.tasks import Tasks
from pagoda_operator.cluster.handshake import read_handshake
from pagoda_operator.kube.objects import Object
from pagoda_operator.plan import Handshake
from pagoda_operator.plan.certificate import is_good

Key = tuple[str, str]
"""Namespace and name of a ModelDeployment."""

TICK_SECONDS = 5.0
AGAIN_SECONDS = 10.0
"""While the host has no certificate, or nothing is sure."""
GOOD_SECONDS = 300.0
SILENT_SECONDS = 120.0
"""Where nobody answered."""
HTTPS = 443
READINGS = 16
"""That run at once."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Question:
    host: str
    secret: str
    address: str


@dataclass(slots=True)
class _Asked:
    question: Question
    due_at: float
    last: Handshake | None = None
    sure: Handshake | None = None
    reading: bool = False


@dataclass(slots=True)
class HandshakeReader:
    """`models` gives each model with its Ingress, `on_news` is told of one of which something else is known."""

    clock: Callable[[], float]
    tasks: Tasks
    models: Callable[[], Iterable[tuple[Key, Object, Object | None]]]
    is_leader: Callable[[], bool]
    on_news: Callable[[Key], None]
    read: Callable[[str, int, str], Awaitable[Handshake]] = read_handshake
    _asked: dict[Key, _Asked] = field(default_factory=dict)
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(READINGS))

    async def run(self) -> None:
        while True:
            self.step()
            await asyncio.sleep(TICK_SECONDS)

    def step(self) -> None:
        """Starts the readings that are due, and forgets what nobody asks for any more."""
        before, self._asked = self._asked, {}
        if not self.is_leader():
            return
        for key, model, ingress in self.models():
            if (question := build_question(model, ingress)) is None:
                continue
            known = before.get(key)
            if known is None or known.question != question:
                known = _Asked(question, due_at=self.clock())
            self._asked[key] = known
            if not known.reading and known.due_at <= self.clock():
                known.reading = True
                self.tasks.spawn("handshake", self._read(key, known))

    def known(self, key: Key) -> Handshake | None:
        asked = self._asked.get(key)
        return None if asked is None else asked.sure

    async def _read(self, key: Key, asked: _Asked) -> None:
        seen, question = None, asked.question
        try:
            async with self._slots:
                seen = await self.read(question.address, HTTPS, question.host)
        except (BadInput, OSError, TimeoutError) as error:
            log.info("no handshake namespace=%s name=%s address=%s error=%r", *key, question.address, error)
        finally:
            asked.reading = False
            self._note(key, asked, seen)

    def _note(self, key: Key, asked: _Asked, seen: Handshake | None) -> None:
        sure = seen if seen == asked.last else None
        is_news = sure != asked.sure
        asked.last, asked.sure = seen, sure
        asked.due_at = self.clock() + _pause_seconds(asked)
        if is_news:
            self.on_news(key)


def _pause_seconds(asked: _Asked) -> float:
    if asked.last is None:
        return SILENT_SECONDS
    return GOOD_SECONDS if asked.sure is not None and is_good(asked.question.host, asked.sure) else AGAIN_SECONDS


def build_question(model: Object, ingress: Object | None) -> Question | None:
    """Returns what to ask; None while no certificate is wanted, or no controller says where it serves the Ingress."""
    wanted = (model.get("spec") or {}).get("ingress")
    if not isinstance(wanted, dict) or ingress is None:
        return None
    host, secret = wanted.get("host"), wanted.get("tlsSecretName")
    address = _find_address(ingress)
    if not isinstance(host, str) or not isinstance(secret, str) or address is None:
        return None
    tls = (ingress.get("spec") or {}).get("tls") or ()
    is_written = any(entry.get("secretName") == secret and host in (entry.get("hosts") or ()) for entry in tls)
    return Question(host, secret, address) if is_written else None


def _find_address(ingress: Object) -> str | None:
    """Returns the first address or host name that the controller serves the Ingress at, none of this machine's own."""
    entries = ((ingress.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    for address in (entry.get("ip") or entry.get("hostname") for entry in entries):
        if address and not _is_local(address):
            return str(address)
    return None


def _is_local(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address == "localhost"
    return parsed.is_loopback or parsed.is_link_local or parsed.is_unspecified or parsed.is_multicast
