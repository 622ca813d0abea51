"""One batch, a server that answers at once, and gateways that run the batch one after another on one store."""

import asyncio
import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pagoda_gateway.batch import names
from pagoda_gateway.batch.call import Answer, Server, TryAgain
from pagoda_gateway.batch.files import Files
from pagoda_gateway.batch.lease import LEASE_SECONDS, Lease, Watcher
from pagoda_gateway.batch.metrics import BatchMetrics
from pagoda_gateway.batch.pace import Figures, Pace, Seen
from pagoda_gateway.batch.records import Order, Progress
from pagoda_gateway.batch.register import Register
from pagoda_gateway.batch.run import BatchRun, Workplace
from pagoda_gateway.batch.store import StoreError
from pagoda_gateway.batch.turns import Turns
from pagoda_gateway.drain import Drain
from pagoda_gateway.metrics import Metrics
from tests.doubles.clock import Clock
from tests.doubles.memory_store import Mount

TENANT = "one"
SLOTS = 8


class Answers(Server):
    """A server that answers at once, or once says that it cannot."""

    def __init__(self, busy: set[int]) -> None:
        super().__init__(Path("/none"))
        self.asked: Counter[str] = Counter()
        self._busy = set(busy)

    async def ask(self, path: str, body: bytes, *, tenant: str, request_id: str) -> Answer:
        await asyncio.sleep(0)
        said = str(json.loads(body)["n"])
        self.asked[said] += 1
        if int(said) in self._busy:
            self._busy.discard(int(said))
            raise TryAgain("busy", pause_seconds=0.0)
        status = 400 if int(said) % 5 == 4 else 200
        usage = {"prompt_tokens": 1, "completion_tokens": 1}
        return Answer(status, json.dumps({"said": said, "usage": usage}).encode(), request_id)


@dataclass
class World:
    requests: int
    busy: set[int] = field(default_factory=set)
    clock: Clock = field(default_factory=Clock)
    objects: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.server = Answers(self.busy)
        self.order = Order(
            id=names.build_id("batch", 0.0),
            tenant=TENANT,
            endpoint="/v1/completions",
            input_file_id=names.build_id("file", 0.0),
            created_at=0,
            expires_at=10**6,
            output_seconds=10**6,
        )
        lines = (
            {"custom_id": f"r{n}", "method": "POST", "url": self.order.endpoint, "body": {"n": n}}
            for n in range(self.requests)
        )
        content = names.file_content(TENANT, self.order.input_file_id)
        self.objects[content] = b"".join(json.dumps(line).encode() + b"\n" for line in lines)

    def build_place(self, mount: Mount) -> Workplace:
        now = self.clock.__call__
        return Workplace(
            store=mount,
            files=Files(mount, now=now),
            register=Register(mount, now=now),
            server=self.server,
            turns=Turns(
                Pace(0.5),
                lambda running: Seen(SLOTS, 0, 0, running, Figures(running, 0, None)),
                clock=self.clock,
            ),
            drain=Drain(grace_seconds=0.0, clock=self.clock),
            metrics=BatchMetrics(Metrics(namespace="n", model_deployment="d", model_name="m")),
            model="m",
            line_bytes=10_000,
            requests=1000,
            now=now,
            clock=asyncio.get_running_loop().time,
        )

    async def take(self, mount: Mount) -> Lease:
        """Returns the lease, once the one before has not moved for long enough."""
        register = Register(mount, now=self.clock)
        watcher = Watcher(mount, register, clock=self.clock)
        if (lease := await watcher.try_take(self.order)) is None:
            self.clock.now += LEASE_SECONDS
            lease = await watcher.try_take(self.order)
        assert lease is not None
        return lease

    async def run(self, mount: Mount) -> None:
        """Runs one gateway until the batch is at its end or the gateway is dead."""
        try:
            lease = await self.take(mount)
            await BatchRun(self.build_place(mount), lease).run()
        except StoreError:
            assert mount.dead

    async def read_progress(self) -> Progress:
        return await Register(Mount(self.objects), now=self.clock).read_progress(self.order)

    async def check(self) -> None:
        """Each request has one line, in the right file, and the batch says so."""
        mount = Mount(self.objects)
        progress = await self.read_progress()
        assert progress.status == "completed"
        output = self.read(progress.output_file_id)
        errors = self.read(progress.error_file_id)
        wrong = {n for n in range(self.requests) if n % 5 == 4}
        assert [line["custom_id"] for line in sort(errors)] == [f"r{n}" for n in sorted(wrong)]
        assert [line["custom_id"] for line in sort(output)] == [f"r{n}" for n in range(self.requests) if n not in wrong]
        assert (progress.total, progress.completed) == (self.requests, self.requests - len(wrong))
        assert progress.tokens.output == self.requests
        assert await mount.find(names.ACTIVE) == [] and await mount.find("journals") == []

    def read(self, file_id: str | None) -> list[dict[str, Any]]:
        if file_id is None:
            return []
        return [json.loads(line) for line in self.objects[names.file_content(TENANT, file_id)].splitlines()]


def sort(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(lines, key=lambda line: int(line["custom_id"][1:]))
