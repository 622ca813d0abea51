"""Kopf watches, we decide. Event handlers only: no finalizer, annotation or daemon is left on a user's object."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import kopf

from pagoda_operator.cluster.kinds import LEASE, WATCHED, Kind
from pagoda_operator.handlers.store import Object
from pagoda_operator.settings import Settings

Observe = Callable[[str, Object], None]
"""Called with the type of the event ("DELETED" or another) and the object."""


def build_registry(observe: Observe) -> Any:
    registry = kopf.OperatorRegistry()

    async def on_event(event: Any, **_: Any) -> None:
        observe(event["type"] or "", dict(event["object"]))

    for kind in (*WATCHED, LEASE):
        kopf.on.event(kind.group, kind.version, kind.plural, id=f"see-{kind.plural}", registry=registry)(on_event)
    kopf.on.login(registry=registry, id="login")(_login)
    return registry


def _login(**kwargs: Any) -> Any:
    return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)


def build_kopf_settings(settings: Settings) -> Any:
    result = kopf.OperatorSettings()
    result.posting.enabled = False
    result.peering.standalone = True
    result.scanning.disabled = True
    result.networking.request_timeout = settings.request_timeout_seconds
    result.networking.connect_timeout = 5
    result.networking.error_backoffs = (1, 1, 2, 3, 5)
    result.networking.enforce_retry_after = True
    result.watching.server_timeout = 270
    result.watching.client_timeout = 300
    result.watching.connect_timeout = 5
    result.queueing.error_delays = (1, 2, 5, 10)
    for kind in WATCHED:
        if kind.selector:
            result.watching.label_selectors[_selector(kind)] = kind.selector
    result.watching.field_selectors[_selector(LEASE)] = f"metadata.name={settings.lease_name}"
    return result


def _selector(kind: Kind) -> Any:
    return kopf._cogs.structs.references.Selector(kind.group, kind.version, kind.plural)


async def watch(settings: Settings, observe: Observe, *, stop: asyncio.Event) -> None:
    """Runs until `stop`; raises when Kopf gives up."""
    logging.getLogger("kopf").setLevel(logging.WARNING)
    scope: dict[str, Any] = {"clusterwide": True}
    if settings.watch_namespaces:
        scope = {"namespaces": sorted({*settings.watch_namespaces, settings.namespace})}
    await kopf.operator(
        registry=build_registry(observe),
        settings=build_kopf_settings(settings),
        standalone=True,
        stop_flag=stop,
        **scope,
    )
