"""The logs of all pods of a model: what is there, then what comes, also of pods that come later."""

import queue
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from pagoda_cli.remote.connection import Cluster
from pagoda_cli.remote.errors import ClusterError
from pagoda_cli.remote.observe import POD
from pagoda_operator.kube.objects import MODEL_DEPLOYMENT_LABEL, Object
from pagoda_operator.kube.pods import is_made_by

LOOK_AGAIN_SECONDS = 3.0
WAITING_LINES = 1000
CONTAINERS = ("fetch", "gateway", "server")
_NOT_STARTED = 400
"""What the API server answers for a container that has not started yet, or not before."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line of a container; of `trouble`, what kept its log from being read."""

    pod: str
    container: str
    text: str
    is_trouble: bool = False


@dataclass(frozen=True, slots=True)
class LogQuery:
    containers: tuple[str, ...] = CONTAINERS
    previous: bool = False
    timestamps: bool = False
    tail_lines: int | None = None
    since_seconds: int | None = None

    def build(self, container: str) -> dict[str, str]:
        """Returns the query of a request for one container's log."""
        found = {"container": container}
        found |= {"previous": "true"} if self.previous else {}
        found |= {"timestamps": "true"} if self.timestamps else {}
        found |= {"tailLines": str(self.tail_lines)} if self.tail_lines is not None else {}
        return found | ({"sinceSeconds": str(self.since_seconds)} if self.since_seconds is not None else {})


def list_pods(cluster: Cluster, name: str, namespace: str) -> list[Object]:
    """Returns the model's pods, oldest first."""
    pods = cluster.list(POD, namespace, labels=f"{MODEL_DEPLOYMENT_LABEL}={name}")
    ours = [pod for pod in pods if is_made_by(pod, name)]
    return sorted(ours, key=lambda pod: (pod["metadata"].get("creationTimestamp", ""), pod["metadata"]["name"]))


def list_sources(pods: Sequence[Object], containers: Sequence[str]) -> list[tuple[str, str]]:
    """Returns the pods and containers whose logs are wanted and which exist, in the order in which they start."""
    found = []
    for pod in pods:
        spec = pod.get("spec") or {}
        names = [c["name"] for c in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ()))]
        found += [(str(pod["metadata"]["name"]), name) for name in names if name in containers]
    return found


def read_logs(cluster: Cluster, namespace: str, pods: Sequence[Object], query: LogQuery) -> Iterator[LogLine]:
    """Yields the logs as they are, container by container."""
    for pod, container in list_sources(pods, query.containers):
        try:
            text = cluster.read_log(namespace, pod, **query.build(container))
        except ClusterError as error:
            if error.status == 403:
                raise
            if not (query.previous and error.status == _NOT_STARTED):
                yield LogLine(pod, container, str(error), is_trouble=True)
            continue
        for line in text.splitlines():
            yield LogLine(pod, container, line)


def follow_logs(cluster: Cluster, namespace: str, name: str, query: LogQuery) -> Iterator[LogLine]:
    """Yields lines of all containers as they come, until the caller stops.

    NB: a container that starts again has a new log; a line of its first seconds may be said twice, and none is lost.
    """
    lines: queue.Queue[LogLine] = queue.Queue(WAITING_LINES)
    followed: dict[tuple[str, str], _Followed] = {}
    looked_at = -LOOK_AGAIN_SECONDS
    while True:
        if time.monotonic() - looked_at >= LOOK_AGAIN_SECONDS:
            looked_at = time.monotonic()
            for source in list_sources(list_pods(cluster, name, namespace), query.containers):
                if source not in followed:
                    followed[source] = _Followed(cluster, namespace, source, lines)
                followed[source].go_on(query)
        try:
            yield lines.get(timeout=0.2)
        except queue.Empty:
            continue


class _Followed:
    """One container's log, read by a thread for as long as it comes."""

    def __init__(
        self, cluster: Cluster, namespace: str, source: tuple[str, str], lines: "queue.Queue[LogLine]"
    ) -> None:
        self._cluster, self._namespace, self._lines = cluster, namespace, lines
        self._pod, self._container = source
        self._thread: threading.Thread | None = None
        self._has_spoken = False

    def go_on(self, query: LogQuery) -> None:
        """Begins to read, or begins again where the log has ended."""
        if self._thread is not None and self._thread.is_alive():
            return
        recent = replace(query, tail_lines=None, since_seconds=round(LOOK_AGAIN_SECONDS) + 1)
        self._thread = threading.Thread(target=self._read, args=(recent if self._has_spoken else query,), daemon=True)
        self._thread.start()

    def _read(self, query: LogQuery) -> None:
        wanted = query.build(self._container)
        try:
            with self._cluster.follow_log(self._namespace, self._pod, follow="true", **wanted) as found:
                for line in found:
                    self._has_spoken = True
                    self._lines.put(LogLine(self._pod, self._container, line.decode("utf-8", "replace")))
        except ClusterError as error:
            if error.status not in (_NOT_STARTED, 404):
                self._lines.put(LogLine(self._pod, self._container, str(error), is_trouble=True))
