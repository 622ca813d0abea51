"""Keeps the metrics API up: its certificate renewed and reloaded, its APIServices registered, its trust fresh."""

import asyncio
import contextlib
import logging
import os
import ssl
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pagoda_guard.tasks import Tasks
from pagoda_operator.cluster.client import ApiError, Client
from pagoda_operator.metrics_api.aggregation import (
    read_secret,
    read_trust,
    register,
    serves_elsewhere,
    unregister,
    write_secret,
)
from pagoda_operator.metrics_api.certificates import Bundle, build_bundle, needs_renewal, read_expiration
from pagoda_operator.metrics_api.server import ReadDemand, build_metrics_api_app
from pagoda_operator.metrics_api.trust import Trust, TrustError, build_ssl_context
from pagoda_operator.ports import Port
from pagoda_operator.settings import Settings

CHECK_SECONDS = 30.0
RETRY_SECONDS = 2.0

log = logging.getLogger(__name__)


@dataclass(slots=True)
class MetricsApi:
    client: Client
    settings: Settings
    read_demand: ReadDemand
    is_leader: Callable[[], bool]
    wall: Callable[[], float]
    clock: Callable[[], float]
    tasks: Tasks
    count_error: Callable[[], None]
    show_expiration: Callable[[float], None]
    """Takes when the certificate that is served ends, as a Unix timestamp in seconds."""
    _trust: Trust | None = None
    _refusal: str = ""
    _bundle: Bundle | None = None
    _context: ssl.SSLContext | None = None
    _port: Port | None = None
    _hurry: asyncio.Event = field(default_factory=asyncio.Event)

    def hurry(self) -> None:
        """Makes the next step come at once, because we lead now."""
        self._hurry.set()

    @property
    def port_number(self) -> int | None:
        """Returns the number of the port; None until it serves."""
        return self._port.number if self._port is not None else None

    async def run(self) -> None:
        while True:
            self._hurry.clear()
            pause = await self.try_step()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._hurry.wait()

    async def try_step(self) -> float:
        """Takes a step; returns the seconds until the next one. What the API server cannot tell stays as it was."""
        try:
            await self.step()
        except ApiError as error:
            log.warning("metrics API is waiting error=%s", error)
            return RETRY_SECONDS
        except TrustError as error:
            self._trust_nobody(str(error))
            return RETRY_SECONDS
        self._refusal = ""
        return CHECK_SECONDS if self._port is not None else RETRY_SECONDS

    async def step(self) -> None:
        """Reads what it must trust and serve, begins to serve, and renews. Only the leader writes."""
        trust = await read_trust(self.client)
        bundle = await self._read_or_renew()
        if bundle is None:
            return
        self._use(trust, bundle)
        if self._port is None:
            await self._start()
        if self.is_leader():
            s = self.settings
            names = await register(
                self.client,
                bundle.ca_pem,
                service=s.metrics_service,
                namespace=s.namespace,
                cluster_role=s.cluster_role,
            )
            for name in names:
                log.info("registered apiservice=%s", name)

    async def _read_or_renew(self) -> Bundle | None:
        s = self.settings
        name, now = f"{s.metrics_service}-metrics-tls", datetime.fromtimestamp(self.wall(), UTC)
        secret, data = await read_secret(self.client, name, s.namespace)
        stored = Bundle(*(data.get(key, b"") for key in ("ca.crt", "tls.crt", "tls.key")))
        if not needs_renewal(stored, now):
            return stored
        if not self.is_leader():
            return self._bundle
        host = f"{s.metrics_service}.{s.namespace}.svc"
        bundle = build_bundle((host, f"{host}.cluster.local"), now, previous_ca_pem=stored.ca_pem)
        content = {"ca.crt": bundle.ca_pem, "tls.crt": bundle.certificate_pem, "tls.key": bundle.key_pem}
        written = await write_secret(self.client, name, s.namespace, content, replaces=secret)
        log.info("certificate renewed secret=%s written=%s", name, written)
        return bundle if written else self._bundle

    def _use(self, trust: Trust, bundle: Bundle) -> None:
        """Takes trust and certificate for connections to come; those that another trust let in have to come again."""
        if trust == self._trust and bundle == self._bundle:
            return
        with tempfile.TemporaryDirectory() as folder:
            paths = os.path.join(folder, "tls.crt"), os.path.join(folder, "tls.key")
            for path, pem in zip(paths, (bundle.certificate_pem, bundle.key_pem), strict=True):
                with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
                    file.write(pem)
            self._context = build_ssl_context(trust, *paths)
        if trust != self._trust and self._port is not None:
            log.info("the front proxy's CA or names have changed")
            self._port.drop_connections()
        self._trust, self._bundle = trust, bundle
        self.show_expiration(read_expiration(bundle))

    def _trust_nobody(self, why: str) -> None:
        if why != self._refusal:
            log.error("metrics API refuses everyone error=%s", why)
        self._refusal = why
        self._trust = self._context = None
        if self._port is not None:
            self._port.drop_connections()

    async def _start(self) -> None:
        number = self.settings.metrics_api_port
        trust, context = (lambda: self._trust), (lambda: self._context)
        app = build_metrics_api_app(self.read_demand, trust, wall=self.wall, count_error=self.count_error)
        port = Port(app, port=number, tasks=self.tasks, clock=self.clock, context=context)
        await port.start()
        self._port = port
        log.info("metrics API serves port=%s", number)

    async def leave(self) -> None:
        """Removes the metrics API from the cluster before a leader stops, if no other operator would answer."""
        s = self.settings
        if await serves_elsewhere(self.client, service=s.metrics_service, namespace=s.namespace, identity=s.identity):
            return
        for name in await unregister(self.client, service=s.metrics_service, namespace=s.namespace):
            log.info("unregistered apiservice=%s", name)

    async def close(self) -> None:
        if self._port is not None:
            await self._port.close()
