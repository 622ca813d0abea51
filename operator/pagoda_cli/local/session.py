"""The life of one `pagoda run`.

It keeps the replicas of a specification running, follows its file, and ends without cutting a stream.
"""

import asyncio
import os
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path

from pagoda_cli.local import chat
from pagoda_cli.local.followed_file import FollowedFile
from pagoda_cli.local.front_door import FrontDoor
from pagoda_cli.local.generation import Generation, build_generation
from pagoda_cli.local.gpus import Gpus, find_gpus, refuse_gpus
from pagoda_cli.local.plan import PlanError
from pagoda_cli.local.pod import build_local_pod
from pagoda_cli.local.process import Hooks, Supervised
from pagoda_cli.local.prompt import talk
from pagoda_cli.local.public_socket import LOOPBACK, listen
from pagoda_cli.local.replica import SetupError, StartError
from pagoda_cli.local.run_secrets import add_api_key, make_key, refuse_without_token
from pagoda_cli.local.spec_file import SpecFile, SpecFileError, parse_content
from pagoda_cli.local.starting import Starting
from pagoda_cli.local.unused import list_unused
from pagoda_guard.tasks import Tasks

Say = Callable[[str, str], None]
SHOW_SECONDS = 0.5
NOT_RUNNABLE = (SpecFileError, PlanError, SetupError, StartError, OSError)


@dataclass(frozen=True, slots=True)
class RunOptions:
    """`file` is followed, where there is one."""

    file: Path | None = None
    port: int = 8000
    host: str = LOOPBACK
    chat: bool = False
    ask: str | None = None
    once: bool = False
    logs: bool = False


@dataclass(frozen=True, slots=True)
class Voice:
    """How a session speaks: a condition, a line that the next one replaces, a line of a process's log."""

    say: Say
    show: Say = lambda condition, message: None
    log: Say = lambda who, line: None


class Session:
    def __init__(self, options: RunOptions, spec: SpecFile, root: Path, voice: Voice) -> None:
        self._options = options
        self._spec = spec
        self._root = root
        self._voice = voice
        self._say = voice.say
        self._count = 0
        self._door: FrontDoor | None = None
        self._alive: list[Generation] = []
        self._current: Generation | None = None
        self._starting: Starting | None = None
        self._key = make_key()
        self._said: set[tuple[str, str]] = set()
        self._tasks = Tasks()
        self._ending: set[asyncio.Task[None]] = set()
        self._pods_said = (0, 0)
        self._hooks = Hooks(self._on_exit, lambda trouble: self._say("Log", trouble), on_line=self._on_line)

    async def work(self) -> None:
        """Starts, then answers, chats or follows the file."""
        public = listen(self._options.port, self._options.host)
        self._door = door = FrontDoor(public, self._ready_urls, self._say_pods)
        await door.start()
        file = self._options.file
        followed = FollowedFile(file, self._say_unchanged) if file is not None else None
        if followed is not None:
            followed.remember()
        current = await self._roll_to(self._spec, door)
        endpoint = chat.Endpoint(public.url, current.pod.model_name, current.api_key)
        if self._options.ask is not None:
            await chat.ask(endpoint, self._options.ask)
        if self._options.chat:
            await talk(endpoint)
        elif not self._options.once:
            await (self._follow(followed, door) if followed is not None else asyncio.Event().wait())

    async def close(self) -> None:
        """Closes the port, drains and stops everything."""
        if self._door is not None:
            await self._door.stop()
        if self._current is not None:
            self._say("Draining", "finishing what runs; Ctrl-C again stops at once")
            last, self._current = self._current, None
            self._in_background(self._end(last))
        await asyncio.gather(*self._ending, return_exceptions=True)
        await asyncio.gather(*(generation.kill() for generation in self._alive))

    async def kill(self) -> None:
        for task in self._ending:
            task.cancel()
        await asyncio.gather(*self._ending, return_exceptions=True)
        await asyncio.gather(*(generation.kill() for generation in self._alive))

    async def _follow(self, file: FollowedFile, door: FrontDoor) -> None:
        """Rolls over to each new version of the file, but not for a comment or another order of its fields.

        NB: a file that changes in the middle of a roll-over ends it: the new version may be the mend of one that never
        becomes ready.
        """
        rolling: asyncio.Task[None] | None = None
        wanted: SpecFile | None = None
        try:
            while True:
                spec = self._parse(await file.wait_change())
                if rolling is None or rolling.done():
                    wanted = self._spec if self._current is not None else None
                if spec is not None and spec == wanted:
                    self._say("NoChange", "the file says what it said before")
                elif spec is not None:
                    await _cancel(rolling)
                    rolling, wanted = self._tasks.spawn("roll-over", self._try_roll(spec, door)), spec
        finally:
            await _cancel(rolling)

    def _parse(self, content: bytes) -> SpecFile | None:
        try:
            return parse_content(content, str(self._options.file))
        except SpecFileError as error:
            self._say_unchanged(str(error))
            return None

    async def _try_roll(self, spec: SpecFile, door: FrontDoor) -> None:
        if self._current is not None and spec == self._spec:
            self._say("NoChange", "the version that runs is wanted again")
            return
        try:
            await self._roll_to(spec, door)
        except NOT_RUNNABLE as error:
            self._say_unchanged(str(error))

    def _say_unchanged(self, trouble: str) -> None:
        state = "the old version runs on" if self._current is not None else "nothing runs: correct the file"
        for line in trouble.splitlines():
            self._say("Unchanged", f"{state}: {line}")

    async def _roll_to(self, spec: SpecFile, door: FrontDoor) -> Generation:
        """Starts `spec`'s replicas, then retires the previous ones; on failure those stay."""
        self._starting = starting = Starting()
        new = await self._prepare(spec, door)
        self._alive.append(new)
        try:
            await self._bring_up(new, starting)
            await door.open()
        except BaseException:
            await asyncio.shield(self._in_background(self._discard(new)))
            raise
        finally:
            self._starting = None
        old, self._current, self._spec = self._current, new, spec
        self._pods_said = (len(new.replicas), len(new.replicas))
        self._say_ready(new, door, starting.seconds)
        if old is not None:
            self._in_background(self._retire(old))
        return new

    async def _prepare(self, spec: SpecFile, door: FrontDoor) -> Generation:
        """Refuses what can never run here, before anything is downloaded. Raises PlanError and OSError."""
        wanted = spec.deployment.spec
        for line in list_unused(spec):
            self._say_once("NotUsed", line)
        pod = build_local_pod(spec.deployment)
        gpus = await asyncio.to_thread(find_gpus) if pod.gpus else Gpus()
        refuse_gpus(wanted, pod.replicas, gpus)
        refuse_without_token(wanted, spec.secrets, os.environ)
        secrets, made = add_api_key(wanted, spec.secrets, self._key)
        self._count += 1
        root = self._root / str(self._count)
        new = build_generation(pod, secrets, root, door.public, gpus, self._hooks)
        if made is not None:
            self._say_once("ApiKey", f"Secret {made!r} is not in the file; the key of this run: {self._key}")
        if not door.public.is_local and wanted.auth is None:
            where = f"{door.public.address}:{self._options.port}"
            fix = "auth.apiKeysSecretRef asks for a key"
            self._say_once("Open", f"anybody who reaches {where} can use the model: {fix}")
        return new

    async def _bring_up(self, new: Generation, starting: Starting) -> None:
        self._say("Fetching", new.pod.uri)
        await new.fetch(self._say_progress)
        if new.needs_gpu:
            await self._free_gpu()
        self._say("Starting", f"{new.pod.model_name}{describe_count(len(new.replicas))}")
        starting.begin()
        ticking = self._tasks.spawn("progress", self._show_start(starting))
        try:
            await new.start()
        finally:
            await _cancel(ticking)

    async def _show_start(self, starting: Starting) -> None:
        while True:
            await asyncio.sleep(SHOW_SECONDS)
            self._voice.show("Starting", starting.describe())

    async def _free_gpu(self) -> None:
        """Retires what holds the GPU. NB: shielded, for it goes on when the roll-over that wanted it is given up."""
        if self._current is not None:
            self._say("NoSurge", "two models do not fit on the GPU: 503 with Retry-After until the new one is loaded")
            old, self._current = self._current, None
            self._in_background(self._retire(old))
        await asyncio.shield(asyncio.gather(*self._ending))

    async def _retire(self, old: Generation) -> None:
        await self._end(old)
        self._say("Retired", f"{old.pod.model_name}: drained, every process has ended")

    async def _end(self, old: Generation) -> None:
        await old.retire()
        self._alive.remove(old)

    async def _discard(self, new: Generation) -> None:
        await new.kill()
        self._alive.remove(new)

    def _in_background(self, end: Coroutine[None, None, None]) -> "asyncio.Task[None]":
        """Ends a version without holding up the new one, or the next change, while its last answers are long."""
        task = self._tasks.spawn("end of a version", end)
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        return task

    def _ready_urls(self) -> list[str]:
        return [replica.ready_url for generation in self._alive for replica in generation.replicas]

    def _say_ready(self, new: Generation, door: FrontDoor, seconds: float) -> None:
        what = f"model={new.pod.model_name}{describe_count(len(new.replicas))}"
        reach = "" if door.public.is_local else "  (open to other machines)"
        self._say("Ready", f"{door.public.url}/v1  {what}  after {seconds:.1f} s{reach}")
        if self._options.ask is None and not self._options.once:
            self._say_once("ChatPage", f"{door.public.url}/  to try the model in a browser")

    def _say_once(self, condition: str, message: str) -> None:
        if (condition, message) not in self._said:
            self._said.add((condition, message))
            self._say(condition, message)

    def _say_progress(self, line: str) -> None:
        if "MB/s" in line:  # the rest of what `pagoda fetch` says is in its log
            self._say("Fetching", line.removeprefix("fetch: "))

    def _say_pods(self, ready: int, count: int) -> None:
        settled = self._alive == [self._current]  # in a roll-over there are two versions; its end is said by Ready
        if settled and (ready, count) != self._pods_said:
            self._pods_said = (ready, count)
            self._say("PodsReady", f"{ready} of {count}")

    def _on_line(self, name: str, line: str) -> None:
        if self._options.logs:
            self._voice.log(name, line)
        is_first = self._starting is not None and name in ("server", "server-0")
        if self._starting is not None and is_first and (said := self._starting.read(line)) is not None:
            self._say("Starting", said)

    def _on_exit(self, process: Supervised, code: int, backoff_seconds: float) -> None:
        self._say("Restarting", f"{process.spec.name} in {backoff_seconds:.0f} s: {process.describe_end(code)}")


async def _cancel(task: "asyncio.Task[None] | None") -> None:
    if task is not None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def describe_count(replicas: int) -> str:
    return f"  replicas={replicas}" if replicas > 1 else ""
