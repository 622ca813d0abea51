"""A `pagoda run` with its real fetch and gateway processes, and a model server without a model behind each gateway."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import aiohttp
import pytest

from pagoda_cli.local import session as run_session
from pagoda_cli.local.gpus import Gpus
from pagoda_cli.local.pod import LocalPod, build_local_pod
from pagoda_cli.local.public_socket import find_free_port
from pagoda_cli.local.session import RunOptions, Session, Voice
from pagoda_cli.local.spec_file import read_spec_file
from pagoda_operator.api import ModelDeployment

STAND_IN = Path(__file__).parent / "stand_in_server.py"
YAML = """
apiVersion: pagoda.dev/v1alpha1
kind: ModelDeployment
metadata: {{name: tiny}}
spec:
  model: {{uri: "bundled://pagoda-tiny", name: {name}}}
  replicas: {replicas}
  resources: {{gpus: {gpus}}}
  rollout: {{drainSeconds: 60}}
"""


def build_stand_in_pod(deployment: ModelDeployment) -> LocalPod:
    pod = build_local_pod(deployment)
    (server,) = pod.spec["containers"]
    flags = server["command"][4:]
    return replace(pod, spec=pod.spec | {"containers": [server | {"command": [sys.executable, str(STAND_IN), *flags]}]})


@dataclass
class Run:
    """One `pagoda run` under test."""

    file: Path
    folder: Path
    port: int
    said: list[tuple[str, str]] = field(default_factory=list)
    started: "tuple[Session, asyncio.Task[None]] | None" = None

    @property
    def session(self) -> Session:
        assert self.started is not None
        return self.started[0]

    @property
    def work(self) -> "asyncio.Task[None]":
        assert self.started is not None
        return self.started[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def write(self, name: str, *, replicas: int = 1, gpus: int = 0) -> None:
        partial = self.file.with_suffix(".partial")
        partial.write_text(YAML.format(name=name, replicas=replicas, gpus=gpus))
        partial.replace(self.file)

    def set_ready(self, ready: bool) -> None:
        (self.folder / "ready").touch() if ready else (self.folder / "ready").unlink()

    def start(self) -> None:
        options = RunOptions(self.file, self.port)
        voice = Voice(lambda *said: self.said.append(said))
        session = Session(options, read_spec_file(self.file), self.folder, voice)
        self.started = session, asyncio.create_task(session.work())

    def times(self, condition: str, message: str = "") -> int:
        return sum(1 for said, text in self.said if said == condition and message in text)

    async def until(self, holds: Callable[[], bool]) -> None:
        try:
            async with asyncio.timeout(60):
                while not holds():
                    assert not self.work.done(), (self.work, self.said)
                    await asyncio.sleep(0.02)
        except TimeoutError:
            pytest.fail(f"it never came true; what was said: {self.said}")

    async def stop(self) -> None:
        if self.started is None:
            return
        self.work.cancel()
        await asyncio.gather(self.work, return_exceptions=True)
        await self.session.close()


@pytest.fixture
async def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Run]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("STAND_IN", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", ":".join(path for path in sys.path if path.endswith(("operator", "server_image"))))
    monkeypatch.setattr(run_session, "build_local_pod", build_stand_in_pod)
    monkeypatch.setattr(run_session, "find_gpus", lambda: Gpus(("0",)))
    run = Run(file=tmp_path / "m.yaml", folder=tmp_path, port=find_free_port())
    run.set_ready(True)
    yield run
    (tmp_path / "release").touch()
    await run.stop()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
        yield session
