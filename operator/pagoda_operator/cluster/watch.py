"""Kopf watches, we decide. Event handlers only: no finalizer, annotation or daemon is left on a user's object.

Kopf has a thread and an event loop of its own: when it ends, and it does when one kind is refused to it, it cancels
every task of its loop; and where it can it takes the process's signals. An API server in trouble ends it too.
"""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Iterable
from typing import Any

import kopf

from pagoda_operator.cluster.kopf_log import set_up_kopf_log
from pagoda_operator.kube.kinds import LEASE, WATCHED, Kind
from pagoda_operator.kube.objects import Object
from pagoda_operator.settings import Settings

END_SECONDS = 5.0
CLEAN_UP_SECONDS = 1.0
CLEAN_UPS = 5
LOOK_SECONDS = 0.5
PAGE_ITEMS = 100

log = logging.getLogger(__name__)

Observe = Callable[[str, Object], None]
"""Called with the type of the event ("DELETED" or another) and the object."""


class WatchEnded(Exception):
    """Nothing is watched any more; the message says why."""


def build_registry(kinds: Iterable[Kind], observe: Observe, loop: asyncio.AbstractEventLoop) -> Any:
    """Returns handlers that call `observe` in `loop` and wait for it: events come no faster than they are taken."""
    registry = kopf.OperatorRegistry()

    async def deliver(event: Any) -> None:
        observe(event["type"] or "", dict(event["object"]))

    async def on_event(event: Any, **_: Any) -> None:
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(deliver(event), loop))

    for kind in (*kinds, LEASE):
        kopf.on.event(*_address(kind), id=f"see-{kind.plural}", registry=registry)(on_event)
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
            result.watching.label_selectors[_address(kind)] = kind.selector
    result.watching.field_selectors[_address(LEASE)] = f"metadata.name={settings.lease_name}"
    return result


def _address(kind: Kind) -> tuple[str, str, str]:
    """Returns where the API server serves the kind, which is a key of Kopf's selectors."""
    return kind.group, kind.version, kind.plural


async def watch(
    settings: Settings,
    kinds: Iterable[Kind],
    observe: Observe,
    *,
    stop: asyncio.Event,
    is_silent: Callable[[], bool] = lambda: False,
) -> None:
    """Watches until `stop`.

    Raises WatchEnded when Kopf gives up, or when `is_silent` says that it shows nothing.
    """
    set_up_kopf_log()
    loop = asyncio.get_running_loop()
    kopf_thread = _KopfThread(settings, build_registry(kinds, observe, loop), loop)
    kopf_thread.start()
    try:
        while not stop.is_set() and not kopf_thread.ended.done():
            if is_silent():
                raise WatchEnded("it shows nothing any more")
            await asyncio.wait([kopf_thread.ended], timeout=LOOK_SECONDS)
        if kopf_thread.ended.done():
            kopf_thread.ended.result()
    finally:
        await kopf_thread.end()


class _KopfThread:
    """Kopf at work. When it gives up, or is to end, some of its tasks may wait for ever for others that have ended."""

    def __init__(self, settings: Settings, registry: Any, loop: asyncio.AbstractEventLoop) -> None:
        self.ended: asyncio.Future[None] = loop.create_future()
        self._settings = settings
        self._registry = registry
        self._caller = loop
        self._stop_kopf = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        threading.Thread(target=self._run, name="watch", daemon=True).start()

    async def end(self) -> None:
        """Asks Kopf to end, and soon ends its loop, once for what runs and once for each way it has to clean up."""
        self._stop_kopf.set()
        for seconds in (END_SECONDS, *[CLEAN_UP_SECONDS] * CLEAN_UPS):
            await asyncio.wait([self.ended], timeout=seconds)
            if self.ended.done():
                return
            with contextlib.suppress(RuntimeError):  # it is closed just now
                if self._loop is not None:
                    self._loop.call_soon_threadsafe(self._loop.stop)
        log.error("the thread in which Kopf watched does not end and is left behind")

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            asyncio.run(self._run_kopf())
        except BaseException as raised:
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop is gone, and with it whoever waits
            self._caller.call_soon_threadsafe(_settle, self.ended, error)

    async def _run_kopf(self) -> None:
        scope: dict[str, Any] = {"clusterwide": True}
        if self._settings.watch_namespaces:
            scope = {"namespaces": sorted({*self._settings.watch_namespaces, self._settings.namespace})}
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(_note_unretrieved)
        kopf_settings = build_kopf_settings(self._settings)
        try:
            await kopf.operator(
                registry=self._registry, settings=kopf_settings, standalone=True, stop_flag=self._stop_kopf, **scope
            )
            if not self._stop_kopf.is_set():
                raise WatchEnded("Kopf ended by itself")
        finally:
            self._stop_kopf.set()  # NB: a thread of Kopf's waits for it, and the loop for that thread


def _note_unretrieved(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Logs what Kopf leaves behind: requests when one of them fails, and callbacks that fail when it ends."""
    log.warning("left behind by Kopf what=%r error=%r", context["message"], context.get("exception"))


def _settle(ended: "asyncio.Future[None]", error: BaseException | None) -> None:
    if error is None:
        ended.set_result(None)
    else:
        ended.set_exception(WatchEnded(f"Kopf ended: {error!r}"))
        ended.exception()  # it is looked at, also where nobody waits any more
