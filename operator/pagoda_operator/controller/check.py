"""Compares the store with fresh lists, kind by kind: one that is refused is said by name, and the others go on."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from pagoda_operator.cluster.client import ApiError, Client
from pagoda_operator.cluster.read import read_all, read_optional_kinds
from pagoda_operator.controller.slim import slim
from pagoda_operator.controller.store import MODEL, Store
from pagoda_operator.kube.kinds import OPTIONAL, WATCHED, Kind
from pagoda_operator.kube.objects import Object
from pagoda_operator.metrics import Metrics

NO_ANSWER = 0
REFUSALS = (403, 404)
ESSENTIAL = (MODEL, "Deployment", "Pod")
"""Kinds without which nothing true can be said of any model."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Checker:
    client: Client
    store: Store
    metrics: Metrics
    namespaces: tuple[str, ...]
    on_change: Callable[[Object], None]
    served_kinds: frozenset[str] = frozenset()
    """Kinds of other projects that the cluster serves, as group/Kind."""
    _unread: dict[Kind, str] = field(default_factory=dict)

    @property
    def readable(self) -> tuple[Kind, ...]:
        """Returns the kinds that may be watched."""
        return tuple(kind for kind in WATCHED if kind not in self._unread)

    @property
    def unread_kinds(self) -> frozenset[str]:
        """Returns the names of the kinds of which nothing is known, because they may not be read."""
        return frozenset(kind.kind for kind in self._unread)

    async def read_served_kinds(self) -> bool:
        """Returns whether kinds of other projects have come or gone."""
        before, self.served_kinds = self.served_kinds, await read_optional_kinds(self.client)
        if before != self.served_kinds:
            log.info("kinds of other projects have changed served=%s", ",".join(sorted(self.served_kinds)) or "none")
        return before != self.served_kinds

    async def check(self) -> None:
        """Merges fresh lists of all kinds into the store.

        Raises ApiError when the store is not to be trusted: no answer, or no list of an essential kind.
        """
        await self.read_served_kinds()
        failed: ApiError | None = None
        for kind in (*WATCHED, *(kind for kind in OPTIONAL if kind.full_name in self.served_kinds)):
            try:
                await self._compare(kind)
            except ApiError as error:
                if error.status == NO_ANSWER:
                    raise
                self._note_unread(kind, error)
                if error.status not in REFUSALS or kind.kind in ESSENTIAL:
                    failed = failed or error
            else:
                self._note_read(kind)
        if failed is not None:
            raise failed

    async def _compare(self, kind: Kind) -> None:
        known = self.store.ids()
        items = await read_all(self.client, kind, self.namespaces, keep=slim)
        for obj in self.store.merge_list(kind.kind, items, known_before=known):
            self.on_change(obj)

    def _note_unread(self, kind: Kind, error: ApiError) -> None:
        self.metrics.kind_readable.labels(kind.full_name).set(0)
        said = explain(kind, error)
        if self._unread.get(kind) != said:
            log.error("kind is not read, others go on kind=%s error=%s", kind.full_name, said)
        self._unread[kind] = said

    def _note_read(self, kind: Kind) -> None:
        self.metrics.kind_readable.labels(kind.full_name).set(1)
        if self._unread.pop(kind, None) is not None:
            log.info("kind is read again kind=%s", kind.full_name)


def explain(kind: Kind, error: ApiError) -> str:
    """Returns what cannot be done, why, and what to do about it."""
    if error.status == 403:
        return f'cannot list {kind.plural}: grant get, list and watch on {kind.plural} of apiGroup "{kind.group}"'
    if error.status == 404:
        return f"cannot list {kind.plural}: the cluster does not serve {kind.api_version}; install its CRD"
    return f"cannot list {kind.plural}: {str(error)[:300]}"
