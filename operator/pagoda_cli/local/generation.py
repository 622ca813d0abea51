"""The replicas of one version of the file: their folders, their processes, how they begin and how they end."""

import asyncio
import hashlib
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from pagoda_cli.local.gpus import Gpus
from pagoda_cli.local.local_folder import SCHEME
from pagoda_cli.local.plan import Addresses, Folders, PlanError, Secrets, needs_gpu, plan_replica, plan_secret_files
from pagoda_cli.local.pod import LocalPod
from pagoda_cli.local.private_files import write_private
from pagoda_cli.local.process import Hooks
from pagoda_cli.local.public_socket import PublicSocket, find_free_port
from pagoda_cli.local.replica import Replica
from pagoda_guard.tasks import begin

KEYS = "api-keys/"


@dataclass(frozen=True, slots=True)
class Generation:
    pod: LocalPod
    replicas: tuple[Replica, ...]
    api_key: str | None

    @property
    def needs_gpu(self) -> bool:
        return needs_gpu(self.pod.spec)

    async def fetch(self, on_line: Callable[[str], None]) -> None:
        """Fetches the model once, into the folder that the replicas share. Raises SetupError."""
        await self.replicas[0].run_setup(on_line)

    async def start(self) -> None:
        """Returns when every replica is ready. Raises StartError when one never will be; then none is waited for."""
        starts = [begin(replica.start()) for replica in self.replicas]
        try:
            await asyncio.gather(*starts)
        finally:
            for start in starts:
                start.cancel()
            await asyncio.gather(*starts, return_exceptions=True)

    async def retire(self) -> None:
        """Takes no more requests, finishes those that run, and ends."""
        await asyncio.gather(*(replica.retire(self.pod.drain_seconds) for replica in self.replicas))

    async def kill(self) -> None:
        await asyncio.gather(*(replica.kill() for replica in self.replicas))


def build_generation(
    pod: LocalPod, secrets: Secrets, root: Path, public: PublicSocket, gpus: Gpus, hooks: Hooks
) -> Generation:
    """Makes the folders below `root`, starts nothing; raises PlanError and OSError."""
    files = plan_secret_files(pod.spec, secrets)
    replicas = []
    for index in range(pod.replicas):
        folder = root / str(index)
        folders = Folders(
            run=folder / "run", models=model_folder(pod.uri), etc=folder / "etc", batch=batch_folder(pod.name)
        )
        plan = plan_replica(
            pod.spec,
            name=f"{pod.name}-{index}",
            folders=folders,
            addresses=Addresses(public.fd, find_free_port(), public.hosts),
            secrets=secrets,
            python=sys.executable,
        )
        server = replace(plan.server, environment={**plan.server.environment, **gpus.choose(index, pod.gpus)})
        prepare = partial(_make_folders, folders, files)
        prepare()
        replicas.append(Replica(replace(plan, server=server), folder, _name_lines(hooks, prepare, index, pod.replicas)))
    return Generation(pod, tuple(replicas), _first_api_key(files))


def _name_lines(hooks: Hooks, prepare: Callable[[], None], index: int, replicas: int) -> Hooks:
    """Returns the hooks of one replica, whose lines tell which one it is where there are several."""
    suffix = f"-{index}" if replicas > 1 else ""
    return replace(hooks, prepare=prepare, on_line=lambda name, line: hooks.on_line(f"{name}{suffix}", line))


def _first_api_key(files: Mapping[str, bytes]) -> str | None:
    keys = [value.decode(errors="replace").strip() for name, value in sorted(files.items()) if name.startswith(KEYS)]
    return next((key for key in keys if key.isascii() and key.isprintable()), None)


def _make_folders(folders: Folders, secret_files: Mapping[str, bytes]) -> None:
    """Makes the folders. NB: before each start of a process, for whatever cleans /tmp may have taken them."""
    for folder in (folders.run, folders.etc, folders.models):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name, value in secret_files.items():
        write_private(folders.etc, name, value)


def batch_folder(name: str) -> Path:
    """Returns where files of batches are kept between runs. The gateway makes it, where the file asks for batches."""
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share")
    return data / "pagoda" / "batch" / name


def model_folder(uri: str) -> Path:
    """Returns where the files of `uri` are kept between runs."""
    if uri.startswith("pvc://"):
        fix = "use hf://, bundled:// or file:///absolute/path on this machine"
        raise PlanError(f"model.uri: {uri} is a claim of a cluster: {fix}")
    if uri.startswith(SCHEME):
        if not (folder := Path(uri.removeprefix(SCHEME))).is_dir():
            raise PlanError(f"model.uri: {uri} is no folder of this machine: correct the path")
        return folder
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "pagoda" / "models" / hashlib.sha256(uri.encode()).hexdigest()[:16]
