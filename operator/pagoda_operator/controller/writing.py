"""Carries a plan out: each object by itself, so that one that the API server refuses holds nothing else up.

Leadership is asked before each write. What is written comes back into the store at once, so that the next reconcile
sees it before the watch does.
"""

import logging
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from pagoda_operator.cluster.apply import apply_object, apply_status, delete_object, remove_fields
from pagoda_operator.cluster.client import ApiError, Client
from pagoda_operator.cluster.events import apply_event
from pagoda_operator.cluster.read import read_object
from pagoda_operator.controller.attempts import Attempts, Failure
from pagoda_operator.controller.store import Id, Store, id_of
from pagoda_operator.kube.objects import APPLIED_HASH, Object
from pagoda_operator.metrics import Metrics
from pagoda_operator.plan import Event, ObjectRef, ReconcilePlan, Refusal, find_foreign, needs_apply, project
from pagoda_operator.plan.ownership import can_adopt

_MAY_NOT = re.compile(r"cannot (\w+) resource \"([^\"]+)\"")
Write = Callable[[], Awaitable[None]]
DELETE = "delete"

log = logging.getLogger(__name__)


class LostLead(Exception):
    """Another replica may lead: nothing more is written."""


@dataclass(slots=True)
class Outcome:
    taken: list[str] = field(default_factory=list)
    """Names that objects of someone else have; those are left alone."""
    failures: dict[Id, Failure] = field(default_factory=dict)
    has_deleted: bool = False

    @property
    def refusals(self) -> tuple[Refusal, ...]:
        said = ((id_, failure) for id_, failure in self.failures.items() if failure.is_worth_saying)
        return tuple(Refusal(kind, name, failure.message) for (kind, _, name), failure in said)


@dataclass(slots=True)
class Writer:
    store: Store
    client: Client
    metrics: Metrics
    is_leader: Callable[[], bool]
    wall: Callable[[], float]
    attempts: Attempts = field(default_factory=lambda: Attempts(clock=time.monotonic))
    _accepted: dict[Id, Object] = field(default_factory=dict)
    """What the API server made of the objects that were applied last."""

    async def write_children(self, model: Object, found: ReconcilePlan) -> Outcome:
        """Deletes, then applies: an HPA that is to go is gone before the number of replicas is ours to write."""
        outcome = Outcome()
        for ref in found.deletions:
            await self._try(outcome, (ref.kind, ref.namespace, ref.name), DELETE, self._delete(outcome, ref))
        for desired in found.objects:
            wish = desired["metadata"]["annotations"][APPLIED_HASH]
            await self._try(outcome, id_of(desired), wish, self._apply(outcome, model, desired))
        return outcome

    async def write_status(self, model: Object, status: Object) -> Outcome:
        outcome = Outcome()
        wish = f"status of {model['metadata'].get('generation')}"
        await self._try(outcome, id_of(model), wish, self._apply_status(model, status))
        return outcome

    async def write_events(self, model: Object, events: tuple[Event, ...]) -> None:
        for event in events:
            self._must_lead()
            try:
                await apply_event(
                    self.client, model, type_=event.type, reason=event.reason, message=event.message, now=self.wall()
                )
            except ApiError as error:
                log.warning("event not written reason=%s error=%s", event.reason, error)

    def soonest(self, *outcomes: Outcome) -> float | None:
        """Returns the seconds until something that failed may be tried again."""
        failures = (failure for outcome in outcomes for failure in outcome.failures.values())
        return min(map(self.attempts.seconds_left, failures), default=None)

    def forget(self, namespace: str, name: str) -> None:
        self.attempts.forget(namespace, name)
        for id_ in [id_ for id_ in self._accepted if self.store.get(*id_) is None]:
            del self._accepted[id_]

    async def _try(self, outcome: Outcome, id_: Id, wish: str, write: Write) -> None:
        """Writes one object and notes a refusal.

        Raises what concerns more than this object: the lead is lost, the namespace is being deleted.
        """
        if (standing := self.attempts.standing(id_, wish)) is not None:
            outcome.failures[id_] = standing
            return
        try:
            await write()
        except ApiError as error:
            if error.namespace_ends:
                raise
            outcome.failures[id_] = self._note(id_, wish, error)
            if error.status in (404, 409):
                await self._refresh(id_)
        else:
            self.attempts.succeeded(id_)

    def _note(self, id_: Id, wish: str, error: ApiError) -> Failure:
        failure, is_news = self.attempts.failed(id_, wish, error, explain(error))
        if failure.is_worth_saying:
            self.metrics.errors.inc()
        level = logging.WARNING if failure.is_worth_saying and is_news else logging.INFO
        log.log(level, "not written kind=%s namespace=%s name=%s attempts=%d error=%s", *id_, failure.attempts, error)
        return failure

    async def _refresh(self, id_: Id) -> None:
        """Reads an object again that is not as it was planned on, for the next reconcile."""
        known = self.store.get(*id_)
        if known is None:
            return
        try:
            fresh = await read_object(self.client, known)
        except ApiError as error:
            log.info("not read kind=%s namespace=%s name=%s error=%s", *id_, error)
            return
        if fresh is None:
            self.store.forget(*id_, uid=known["metadata"]["uid"])
        else:
            self.store.put(fresh)

    def _delete(self, outcome: Outcome, ref: ObjectRef) -> Write:
        async def write() -> None:
            self._must_lead()
            held = await delete_object(self.client, ref)
            log.info("deleted kind=%s namespace=%s name=%s", ref.kind, ref.namespace, ref.name)
            if held is not None:
                self.store.put(held)
                return
            self.store.forget(ref.kind, ref.namespace, ref.name, uid=ref.uid)
            outcome.has_deleted = True

        return write

    def _apply(self, outcome: Outcome, model: Object, desired: Object) -> Write:
        async def write() -> None:
            id_ = id_of(desired)
            live = self.store.get(*id_)
            if not needs_apply(desired, live, accepted=self._accepted.get(id_)):
                return
            if live is None:  # NB: the watches show only objects with our labels
                live = await read_object(self.client, desired)
            meta = model["metadata"]
            if live is not None and not can_adopt(live, name=meta["name"], uid=meta["uid"]):
                outcome.taken.append(f"{desired['kind']} {desired['metadata']['name']}")
                return
            await self._apply_whole(desired, live)

        return write

    async def _apply_whole(self, desired: Object, live: Object | None) -> None:
        self._must_lead()
        applied = await apply_object(self.client, desired, live)
        if foreign := find_foreign(desired, applied):
            self._must_lead()
            applied = await remove_fields(self.client, applied, foreign)
        self._accepted[id_of(desired)] = project(desired, applied)
        self.store.put(applied)
        log.info("applied kind=%s namespace=%s name=%s", *id_of(desired))

    def _apply_status(self, model: Object, status: Object) -> Write:
        async def write() -> None:
            if (model.get("status") or {}) == status:
                return
            self._must_lead()
            if (written := await apply_status(self.client, model, status)) is not None:
                self.store.put(written)

        return write

    def _must_lead(self) -> None:
        if not self.is_leader():
            raise LostLead


def explain(error: ApiError) -> str:
    """Returns the API server's words; a missing right is named first."""
    found = _MAY_NOT.search(error.message) if error.status == 403 else None
    said = f"{error.status}: {error.message}" if error.status else error.message
    return f"the operator may not {found[1]} {found[2]}: {said}" if found else said
