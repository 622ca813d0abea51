"""Files and batches put together: the store, the interface of each, what runs them. Only wiring lives here."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Union

from aiohttp import web

from pagoda_gateway.auth import KeyRing
from pagoda_gateway.batch.api import Desk
from pagoda_gateway.batch.batch_api import BatchApi
from pagoda_gateway.batch.call import Server
from pagoda_gateway.batch.file_api import FileApi
from pagoda_gateway.batch.files import Files
from pagoda_gateway.batch.folder import FolderStore
from pagoda_gateway.batch.lease import Watcher
from pagoda_gateway.batch.limits import Limits
from pagoda_gateway.batch.metrics import BatchMetrics
from pagoda_gateway.batch.pace import Pace, Seen
from pagoda_gateway.batch.register import Register
from pagoda_gateway.batch.run import Workplace
from pagoda_gateway.batch.runner import Runner
from pagoda_gateway.batch.store import StoreError
from pagoda_gateway.batch.turns import Turns, read_figures
from pagoda_gateway.batch.upload import Uploads
from pagoda_gateway.body import Bodies
from pagoda_gateway.drain import Drain
from pagoda_gateway.load import ServerLoad, ServerWatch
from pagoda_gateway.metrics import Metrics
from pagoda_gateway.queue import AdmissionQueue
from pagoda_gateway.settings import Settings
from pagoda_guard.settings import SettingError
from pagoda_guard.tasks import Tasks

if TYPE_CHECKING:
    from pagoda_gateway.batch.s3 import S3Store


@dataclass(frozen=True, slots=True)
class Pod:
    """What batches share with live requests."""

    queue: AdmissionQueue
    server: ServerWatch
    keys: KeyRing
    drain: Drain
    bodies: Bodies
    metrics: Metrics
    tasks: Tasks
    clock: Callable[[], float]


def open_store(settings: Settings) -> Union[FolderStore, "S3Store"]:
    """Raises SettingError when it cannot be used at all."""
    place = settings.batch_store
    try:
        if place.startswith("/"):
            folder = FolderStore(Path(place))
            folder.prepare()
            return folder
        from pagoda_gateway.batch.s3 import Bucket, S3Store  # NB: its library is large, and few need it

        bucket = Bucket.parse(place, endpoint=settings.batch_s3_endpoint, region=settings.batch_s3_region)
        return S3Store(bucket)
    except ImportError as error:
        raise SettingError(f"batch_store is {place!r}: S3 needs the package obstore, which is not installed") from error
    except (StoreError, ValueError) as error:
        raise SettingError(f"batch_store is {place!r}: {error}") from error


class Looker:
    """What the pace of batches goes by: this gateway's queue, and the server's last figures."""

    def __init__(self, pod: Pod) -> None:
        self._pod = pod
        self._load: ServerLoad | None = None
        self._number = 0

    def look(self, batch_running: int) -> Seen:
        pod = self._pod
        load = pod.server.fresh_load() if pod.server.ready() else None
        if load is not self._load:
            self._load = load
            self._number += 1
        return Seen(
            slots=pod.queue.slots,
            live_running=pod.queue.running_sequences,
            live_queued=pod.queue.queued,
            batch_running=batch_running,
            figures=read_figures(load, self._number),
            leaving=pod.drain.draining,
        )


class Batches:
    def __init__(self, settings: Settings, pod: Pod, store: Union[FolderStore, "S3Store"]) -> None:
        self._pod = pod
        self._store = store
        self.metrics = metrics = BatchMetrics(pod.metrics)
        now = time.time
        files, register = Files(store, now=now), Register(store, now=now)
        self._turns = Turns(Pace(settings.batch_share), Looker(pod).look, clock=pod.clock)
        limits = Limits(
            file_bytes=settings.batch_max_file_bytes,
            files=settings.batch_max_files,
            total_bytes=settings.batch_max_total_bytes,
        )
        server = Server(settings.upstream)
        place = Workplace(
            store=store,
            files=files,
            register=register,
            server=server,
            turns=self._turns,
            drain=pod.drain,
            metrics=metrics,
            model=settings.model_name,
            line_bytes=settings.max_body_bytes,
            requests=settings.batch_max_requests,
            now=now,
            clock=pod.clock,
        )
        watcher = Watcher(store, register, clock=pod.clock)
        self._runner = Runner(place, watcher, pod.tasks, is_ready=pod.server.ready)
        of_many = settings.api_keys_dir is not None
        uploads = Uploads(store, files, limits, seconds=settings.body_seconds, of_many=of_many, now=now)
        self._file_api = FileApi(files, uploads, register, metrics)
        self._batch_api = BatchApi(files, register, server, on_change=self._runner.wake, now=now)
        self._desk = Desk(
            keys=pod.keys,
            drain=pod.drain,
            bodies=pod.bodies,
            metrics=pod.metrics,
            batch_metrics=metrics,
            clock=pod.clock,
        )
        self._add_gauges()

    @classmethod
    def open(cls, settings: Settings, pod: Pod) -> "Batches":
        """Raises SettingError when the store cannot be used at all."""
        return cls(settings, pod, open_store(settings))

    def add_routes(self, router: web.UrlDispatcher) -> None:
        self._file_api.add_routes(router, self._desk)
        self._batch_api.add_routes(router, self._desk)

    def start(self) -> None:
        self._pod.tasks.keep("batch_turns", self._turns.watch)
        self._pod.tasks.keep("batch_runner", self._runner.watch)

    def close(self) -> None:
        """Lets go of the store, once no task uses it any more."""
        self._store.close()

    def find_share(self) -> float:
        """Returns which part of what the server did lately was batches'."""
        return self._turns.batch_share()

    def _add_gauges(self) -> None:
        metrics = self.metrics
        metrics.show_statuses(self._runner.count_statuses)
        metrics.gauge("batches_active", "Batches in the store that are not at their end", lambda: self._runner.active)
        metrics.gauge(
            "batch_running_requests", "Requests of batches at the server", lambda: self._turns.running_requests
        )
        metrics.gauge("batch_limit_sequences", "Sequences of batches that may run now", lambda: self._turns.pace.limit)
