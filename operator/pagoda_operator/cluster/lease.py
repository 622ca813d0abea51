"""Leader election by a Lease: one replica writes, the others are ready to. Given up at once on a clean stop.

NB: another holder's time is judged by when *we* last saw the Lease change, never by its clock.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime

from pagoda_operator.cluster.client import ApiError, Client
from pagoda_operator.kube.kinds import LEASE
from pagoda_operator.kube.objects import Object

DURATION_SECONDS = 10
RENEW_SECONDS = 2.5
STEP_DOWN_SECONDS = 7.0
"""A leader that could not renew for so long stops writing, before another one may begin."""

log = logging.getLogger(__name__)


class LeaderLease:
    def __init__(
        self,
        client: Client,
        *,
        name: str,
        namespace: str,
        identity: str,
        monotonic: Callable[[], float],
        wall: Callable[[], float],
        on_change: Callable[[bool], None],
    ) -> None:
        self._client, self._name, self._namespace, self._identity = client, name, namespace, identity
        self._monotonic, self._wall, self._on_change = monotonic, wall, on_change
        self._seen_version = ""
        self._seen_at = 0.0
        self._renewed_at = -STEP_DOWN_SECONDS
        self._was_leader = False

    @property
    def is_leader(self) -> bool:
        return self._was_leader and self._monotonic() - self._renewed_at < STEP_DOWN_SECONDS

    async def run(self, on_proof: Callable[[], None]) -> None:
        """Takes or renews the Lease again and again.

        `on_proof` is called when the Lease has changed, by us or by another: a watch of it must show that.
        """
        while True:
            before = self._seen_version
            await self.step()
            if self._seen_version != before:
                on_proof()
            await asyncio.sleep(RENEW_SECONDS)

    async def step(self) -> None:
        """Takes or renews the Lease if we may."""
        try:
            held = await self._try_hold()
        except ApiError as error:
            log.warning("lease not renewed error=%s", error)
            held = self.is_leader
        self._tell(held)

    async def release(self) -> None:
        """Gives the Lease up, so that the next replica begins at once."""
        if not self._was_leader:
            return
        self._tell(False)
        lease = await self._client.get(LEASE, self._name, self._namespace)
        if lease and lease["spec"].get("holderIdentity") == self._identity:
            lease["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1}
            await self._client.replace(LEASE, lease)

    def _tell(self, held: bool) -> None:
        if held != self._was_leader:
            self._was_leader = held
            log.info("leadership has changed leader=%s identity=%s", held, self._identity)
            self._on_change(held)

    async def _try_hold(self) -> bool:
        lease = await self._client.get(LEASE, self._name, self._namespace)
        began = self._monotonic()
        try:
            if lease is None:
                written = await self._client.create(LEASE, self._claim(None))
            elif self._may_take(lease):
                written = await self._client.replace(LEASE, self._claim(lease))
            else:
                return False
        except ApiError as error:
            if error.status == 409:  # another replica was faster
                return False
            raise
        self._seen_version, self._renewed_at = written["metadata"]["resourceVersion"], began
        return True

    def _may_take(self, lease: Object) -> bool:
        spec, now = lease["spec"], self._monotonic()
        if lease["metadata"]["resourceVersion"] != self._seen_version:
            self._seen_version, self._seen_at = lease["metadata"]["resourceVersion"], now
        holder = spec.get("holderIdentity")
        return holder in (None, "", self._identity) or now - self._seen_at > spec.get("leaseDurationSeconds", 10)

    def _claim(self, lease: Object | None) -> Object:
        spec = dict(lease["spec"]) if lease else {}
        time = datetime.fromtimestamp(self._wall(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        if spec.get("holderIdentity") != self._identity:
            spec["acquireTime"] = time
            spec["leaseTransitions"] = spec.get("leaseTransitions", -1) + 1
        spec |= {"holderIdentity": self._identity, "renewTime": time, "leaseDurationSeconds": DURATION_SECONDS}
        metadata: Object = lease["metadata"] if lease else {"name": self._name, "namespace": self._namespace}
        return {"apiVersion": LEASE.api_version, "kind": LEASE.kind, "metadata": metadata, "spec": spec}
