"""Kopf watches, we decide. Event handlers only: no finalizer, annotation or daemon is left on a user's object.

Kopf has a thread and an event loop of its own: when it ends, and it does when one kind is refused to it, it cancels
every task of its loop; and where it can it takes the process's signals. An API server in trouble ends it too.
"""

import asyncio
import contextlib
import json
import logging
import threading
from collections.abc import Callable, Iterable
from typing import Any

import aiohttp
import kopf

from pagoda_operator.cluster.kinds import LEASE, WATCHED, Kind
from pagoda_operator.handlers.store import Object
from pagoda_operator.settings import Settings

END_SECONDS = 5.0
PAGE_ITEMS = 100

logger = logging.getLogger(__name__)

Observe = Callable[[str, Object], None]
"""Called with the type of the event ("DELETED" or another) and the object."""


class WatchEnded(Exception):
    """Nothing is watched any more; the message says why."""


_FAULTS_OF_THE_API_SERVER = (
    kopf._cogs.clients.errors.APIError,
    kopf._cogs.clients.errors.APISessionClosed,
    kopf._cogs.clients.watching.WatchingError,
    aiohttp.ClientError,
    json.JSONDecodeError,
    TimeoutError,
)


def build_registry(kinds: Iterable[Kind], observe: Observe, loop: asyncio.AbstractEventLoop) -> Any:
    """Handlers that have `observe` called in `loop`, and wait for it: events come no faster than they are taken."""
    registry = kopf.OperatorRegistry()

    async def deliver(event: Any) -> None:
        observe(event["type"] or "", dict(event["object"]))

    async def on_event(event: Any, **_: Any) -> None:
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(deliver(event), loop))

    for kind in (*kinds, LEASE):
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
    result.watching.chunk_size = PAGE_ITEMS
    result.queueing.error_delays = (1, 2, 5, 10)
    for kind in WATCHED:
        if kind.selector:
            result.watching.label_selectors[_selector(kind)] = kind.selector
    result.watching.field_selectors[_selector(LEASE)] = f"metadata.name={settings.lease_name}"
    return result


def _selector(kind: Kind) -> Any:
    return kopf._cogs.structs.references.Selector(kind.group, kind.version, kind.plural)


async def watch(settings: Settings, kinds: Iterable[Kind], observe: Observe, *, stop: threading.Event) -> None:
    """Runs until `stop`; raises when Kopf gives up."""
    _set_up_kopf_log()
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()
    registry = build_registry(kinds, observe, loop)

    def run() -> None:
        error: BaseException | None = None
        try:
            asyncio.run(_run_kopf(settings, registry, stop))
        except BaseException as raised:
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop is gone, and with it whoever waits
            loop.call_soon_threadsafe(_settle, ended, error)

    threading.Thread(target=run, name="watch", daemon=True).start()
    try:
        await asyncio.shield(ended)
    finally:
        stop.set()
        await asyncio.wait([ended], timeout=END_SECONDS)


def _set_up_kopf_log() -> None:
    logging.getLogger("kopf").setLevel(logging.WARNING)
    logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)  # it would warn that signals are not its
    for name in ("kopf._cogs.clients.watching", "kopf._core.reactor.observation"):
        logging.getLogger(name).addFilter(_warn_of_retries)
    for name in ("kopf._core.reactor.running", "kopf._core.reactor.orchestration"):
        logging.getLogger(name).addFilter(_drop_traceback)


def _warn_of_retries(record: logging.LogRecord) -> bool:
    """Lowers what Kopf calls an error though it tries again, as after a change of the CRD; the last try stays one."""
    if record.levelno == logging.ERROR and "failed; will retry: " in record.getMessage():
        record.levelno, record.levelname = logging.WARNING, logging.getLevelName(logging.WARNING)
    return True


def _drop_traceback(record: logging.LogRecord) -> bool:
    """Keeps where in Kopf a task ended for faults of the code: the API server's are none."""
    if record.exc_info and isinstance(record.exc_info[1], _FAULTS_OF_THE_API_SERVER):
        record.exc_info = record.exc_text = None
    return True


def _note_unretrieved(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Kopf leaves requests behind when one of them fails."""
    error = context.get("exception")
    if error is None or isinstance(error, _FAULTS_OF_THE_API_SERVER):
        logger.info("left behind by Kopf: %s error=%r", context["message"], error)
    else:
        logger.error("left behind by Kopf: %s error=%r", context["message"], error, exc_info=error)


def _settle(ended: "asyncio.Future[None]", error: BaseException | None) -> None:
    if error is None:
        ended.set_result(None)
    else:
        ended.set_exception(WatchEnded(f"Kopf ended: {error!r}"))
        ended.exception()  # it is looked at, also where nobody waits any more


async def _run_kopf(settings: Settings, registry: Any, stop: threading.Event) -> None:
    scope: dict[str, Any] = {"clusterwide": True}
    if settings.watch_namespaces:
        scope = {"namespaces": sorted({*settings.watch_namespaces, settings.namespace})}
    asyncio.get_running_loop().set_exception_handler(_note_unretrieved)
    try:
        await kopf.operator(
            registry=registry, settings=build_kopf_settings(settings), standalone=True, stop_flag=stop, **scope
        )
        if not stop.is_set():
            raise WatchEnded("Kopf ended by itself")
    finally:
        stop.set()  # NB: a thread of Kopf's waits for it, and the loop for that thread: it would never close
