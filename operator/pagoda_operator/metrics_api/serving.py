"""Keeps the metrics API up: its certificate renewed and reloaded, its APIServices registered, its trust fresh."""

import asyncio
import contextlib
import logging
import os
import ssl
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime

from aiohttp import web

from pagoda_operator.cluster.client import ApiError, Client
from pagoda_operator.metrics_api.aggregation import (
    read_front_proxy,
    read_secret,
    register,
    serves_elsewhere,
    unregister,
    write_secret,
)
from pagoda_operator.metrics_api.certificates import Bundle, build_bundle, needs_renewal
from pagoda_operator.metrics_api.server import ReadDemand, Trust, build_app, build_ssl_context
from pagoda_operator.settings import Settings

CHECK_SECONDS = 30.0
RETRY_SECONDS = 2.0

logger = logging.getLogger(__name__)


class MetricsApi:
    def __init__(
        self,
        client: Client,
        settings: Settings,
        *,
        read_demand: ReadDemand,
        is_leader: Callable[[], bool],
        wall: Callable[[], float],
    ) -> None:
        self._client, self._settings, self._is_leader, self._wall = client, settings, is_leader, wall
        self._read_demand = read_demand
        self._trust = Trust("")
        self._bundle: Bundle | None = None
        self._context: ssl.SSLContext | None = None
        self._runner: web.AppRunner | None = None
        self._hurry = asyncio.Event()

    def hurry(self) -> None:
        """The next step comes at once: we lead now."""
        self._hurry.set()

    async def run(self) -> None:
        while True:
            self._hurry.clear()
            try:
                await self.step()
                pause = CHECK_SECONDS
            except ApiError as error:
                logger.warning("metrics API is waiting error=%s", error)
                pause = RETRY_SECONDS
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause if self._runner else RETRY_SECONDS):
                    await self._hurry.wait()

    async def step(self) -> None:
        """Reads what it must trust and serve; begins to serve; renews. Only the leader writes."""
        trust = Trust(*await read_front_proxy(self._client))
        bundle = await self._read_or_renew()
        if bundle is None:
            return
        self._load(trust, bundle)
        if self._runner is None:
            await self._start()
        if self._is_leader():
            s = self._settings
            names = await register(
                self._client,
                bundle.ca_pem,
                service=s.metrics_service,
                namespace=s.namespace,
                cluster_role=s.cluster_role,
            )
            for name in names:
                logger.info("registered apiservice=%s", name)

    async def _read_or_renew(self) -> Bundle | None:
        s = self._settings
        name, now = f"{s.metrics_service}-metrics-tls", datetime.fromtimestamp(self._wall(), UTC)
        secret, data = await read_secret(self._client, name, s.namespace)
        whole = {"ca.crt", "tls.crt", "tls.key"} <= set(data)
        if whole and not needs_renewal(data["tls.crt"], now):
            return Bundle(data["ca.crt"], data["tls.crt"], data["tls.key"])
        if not self._is_leader():
            return self._bundle
        host = f"{s.metrics_service}.{s.namespace}.svc"
        bundle = build_bundle((host, f"{host}.cluster.local"), now, previous_ca_pem=data.get("ca.crt", b""))
        content = {"ca.crt": bundle.ca_pem, "tls.crt": bundle.certificate_pem, "tls.key": bundle.key_pem}
        written = await write_secret(self._client, name, s.namespace, content, replaces=secret)
        logger.info("certificate renewed secret=%s written=%s", name, written)
        return bundle if written else self._bundle

    def _load(self, trust: Trust, bundle: Bundle) -> None:
        """NB: a listening SSLContext takes a new certificate for the connections that come after."""
        if trust == self._trust and bundle == self._bundle:
            return
        with tempfile.TemporaryDirectory() as folder:
            paths = os.path.join(folder, "tls.crt"), os.path.join(folder, "tls.key")
            for path, pem in zip(paths, (bundle.certificate_pem, bundle.key_pem), strict=True):
                with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
                    file.write(pem)
            if self._context is None:
                self._context = build_ssl_context(trust, *paths)
            else:
                self._context.load_cert_chain(*paths)
                self._context.load_verify_locations(cadata=trust.client_ca_pem)
        self._trust, self._bundle = trust, bundle

    async def _start(self) -> None:
        app = build_app(self._read_demand, lambda: self._trust, wall=self._wall)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, None, self._settings.metrics_api_port, ssl_context=self._context)
        await site.start()
        logger.info("metrics API serves port=%s", self._settings.metrics_api_port)

    async def leave(self) -> None:
        """Before a leader stops: with no other operator to answer, the metrics API is taken out of the cluster."""
        s = self._settings
        if await serves_elsewhere(self._client, service=s.metrics_service, namespace=s.namespace, identity=s.identity):
            return
        for name in await unregister(self._client, service=s.metrics_service, namespace=s.namespace):
            logger.info("unregistered apiservice=%s", name)

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
