"""`pagoda run`: keep the replicas of one file running here, follow the file, end without cutting a stream."""

import asyncio
import hashlib
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pagoda_operator.cli.run import chat
from pagoda_operator.cli.run.plan import Folders, PlanError, ReplicaPlan, needs_gpu, plan_replica, plan_secret_files
from pagoda_operator.cli.run.pod import LocalPod, build_local_pod
from pagoda_operator.cli.run.process import Supervised
from pagoda_operator.cli.run.replica import Replica, SetupError
from pagoda_operator.cli.spec_file import SpecFile, SpecFileError, read_spec_file

WATCH_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class RunOptions:
    file: Path
    port: int = 8000
    chat: bool = False
    ask: str | None = None
    once: bool = False


@dataclass(slots=True)
class Generation:
    """The replicas of one version of the file."""

    pod: LocalPod
    replicas: list[Replica] = field(default_factory=list)
    api_key: str | None = None


def run_file(options: RunOptions) -> int:
    """Run until the question is answered, the chat ends or Ctrl-C; returns the exit code. Raises SpecFileError."""
    return asyncio.run(_run(options, read_spec_file(options.file)))


def say_condition(condition: str, message: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {condition:<11} {message}", file=sys.stderr, flush=True)


async def _run(options: RunOptions, spec: SpecFile) -> int:
    root = Path(tempfile.mkdtemp(prefix="pagoda-"))
    session = Session(options, spec, root)
    work = asyncio.create_task(session.work())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, work.cancel)
    code = await _outcome(work, root)
    hurry = asyncio.current_task()
    assert hurry is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, hurry.cancel)
    try:
        await session.close()
    except asyncio.CancelledError:
        await session.kill()
    if code == 0:
        shutil.rmtree(root, ignore_errors=True)
    return code


async def _outcome(work: "asyncio.Task[None]", root: Path) -> int:
    try:
        await work
    except asyncio.CancelledError:
        return 0
    except (SetupError, PlanError, SpecFileError, chat.ChatError) as error:
        say_condition("Failed", f"{error} (logs: {root})")
        return 1
    return 0


class Session:
    """The life of one `pagoda run`."""

    def __init__(
        self, options: RunOptions, spec: SpecFile, root: Path, say: Callable[[str, str], None] = say_condition
    ) -> None:
        self._options = options
        self._spec = spec
        self._root = root
        self._say = say
        self._count = 0
        self._current: Generation | None = None
        self._next: Generation | None = None

    async def work(self) -> None:
        """Start, then answer, chat or follow the file."""
        check_port(self._options.port)
        text = self._options.file.read_bytes()
        current = await self._roll_to(self._spec)
        endpoint = chat.Endpoint(current.replicas[0].plan.url, current.pod.model_name, current.api_key)
        if self._options.ask is not None:
            await chat.ask(endpoint, self._options.ask)
        if self._options.chat:
            await chat.chat(endpoint)
        elif not self._options.once:
            await self._follow_file(text)

    async def close(self) -> None:
        """Drain and stop everything."""
        if self._next is not None:
            await asyncio.gather(*(replica.kill() for replica in self._next.replicas))
        if self._current is not None:
            self._say("Draining", "finishing what runs; Ctrl-C again stops at once")
            await self._stop_gateways(self._current)
            await asyncio.gather(*(replica.stop_server() for replica in self._current.replicas))

    async def kill(self) -> None:
        for generation in (self._next, self._current):
            if generation is not None:
                await asyncio.gather(*(replica.kill() for replica in generation.replicas))

    async def _follow_file(self, text: bytes) -> None:
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            if not self._options.file.exists() or self._options.file.read_bytes() == text:
                continue
            text = self._options.file.read_bytes()
            try:
                await self._roll_to(read_spec_file(self._options.file))
            except (SpecFileError, PlanError, SetupError) as error:
                self._say("Unchanged", f"the old version runs on: {error}")

    async def _roll_to(self, spec: SpecFile) -> Generation:
        """Start `spec`'s replicas and retire the ones before; on failure the ones before stay."""
        new, old = self._build_generation(spec), self._current
        self._next = new
        try:
            self._say("Fetching", new.pod.uri)
            await new.replicas[0].run_setup()
            if old is not None and needs_gpu(new.pod.spec):  # two models do not fit beside each other on a GPU
                await self._retire(old)
                old = None
            self._say("Starting", f"{len(new.replicas)} x {new.pod.model_name}")
            await asyncio.gather(*(replica.start_server() for replica in new.replicas))
        except (SetupError, OSError):
            self._next = None
            await asyncio.gather(*(replica.kill() for replica in new.replicas))
            raise
        if old is not None:
            await self._stop_gateways(old)
        self._current, self._next = new, None
        await asyncio.gather(*(replica.start_gateway() for replica in new.replicas))
        if old is not None:
            await asyncio.gather(*(replica.stop_server() for replica in old.replicas))
        self._say_ready(new)
        return new

    async def _retire(self, old: Generation) -> None:
        await self._stop_gateways(old)
        await asyncio.gather(*(replica.stop_server() for replica in old.replicas))
        self._current = None

    async def _stop_gateways(self, generation: Generation) -> None:
        await asyncio.gather(*(replica.stop_gateway(generation.pod.drain_seconds) for replica in generation.replicas))

    def _say_ready(self, generation: Generation) -> None:
        for replica in generation.replicas:
            self._say("Ready", f"{replica.plan.url}/v1  model={generation.pod.model_name}")
        if len(generation.replicas) > 1:
            self._say("Ready", "one URL a replica: without a cluster nothing balances between them")

    def _build_generation(self, spec: SpecFile) -> Generation:
        pod = build_local_pod(spec.deployment)
        self._count += 1
        generation = Generation(pod)
        files = plan_secret_files(pod.spec, spec.secrets)
        keys = [value for name, value in sorted(files.items()) if name.startswith("api-keys/")]
        generation.api_key = keys[0].decode().strip() if keys else None
        for index in range(pod.replicas):
            folder = self._root / f"{self._count}-{index}"
            plan = self._plan(pod, spec, folder, index)
            _make_folders(plan.folders, files)
            generation.replicas.append(Replica(plan, folder, self._on_exit))
        return generation

    def _plan(self, pod: LocalPod, spec: SpecFile, folder: Path, index: int) -> ReplicaPlan:
        single = pod.replicas == 1
        return plan_replica(
            pod.spec,
            name=f"{pod.name}-{index}",
            folders=Folders(run=folder / "run", models=model_folder(pod.uri), etc=folder / "etc"),
            port=self._options.port if single else find_free_port(),
            admin_port=find_free_port(),
            secrets=spec.secrets,
            python=sys.executable,
        )

    def _on_exit(self, process: Supervised, code: int, backoff_seconds: float) -> None:
        self._say(
            "Restarting", f"{process.spec.name} in {backoff_seconds:.0f} s (exit code {code}): {process.last_line}"
        )


def _make_folders(folders: Folders, secret_files: dict[str, bytes]) -> None:
    for folder in (folders.run, folders.models, folders.etc):
        folder.mkdir(parents=True, exist_ok=True)
    for name, value in secret_files.items():
        path = folders.etc / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_bytes(value)


def model_folder(uri: str) -> Path:
    """Where the files of `uri` are kept between runs."""
    if uri.startswith("pvc://"):
        raise PlanError(f"spec.model.uri: {uri} is a claim of a cluster: use hf:// or bundled:// on this machine")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "pagoda" / "models" / hashlib.sha256(uri.encode()).hexdigest()[:16]


def check_port(port: int) -> None:
    """Raises PlanError when something listens there: a gateway would only crash again and again."""
    with socket.socket() as probe:
        probe.settimeout(1)
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise PlanError(f"--port: {port} is in use: stop what listens there, or give another port")


def find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
