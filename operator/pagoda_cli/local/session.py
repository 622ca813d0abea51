"""`pagoda run`: keep the replicas of one file running here, follow the file, end without cutting a stream."""

import asyncio
import contextlib
import logging
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path

from pagoda_cli.local import chat
from pagoda_cli.local.followed_file import FollowedFile
from pagoda_cli.local.front_door import FrontDoor, listen
from pagoda_cli.local.generation import Generation, build_generation
from pagoda_cli.local.plan import PlanError
from pagoda_cli.local.pod import build_local_pod
from pagoda_cli.local.process import Hooks, Supervised
from pagoda_cli.local.prompt import talk
from pagoda_cli.local.replica import SetupError
from pagoda_cli.local.spec_file import SpecFile, SpecFileError, parse_content, read_spec_file
from pagoda_cli.text import one_line
from pagoda_guard.tasks import Tasks

Say = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class RunOptions:
    file: Path
    port: int = 8000
    chat: bool = False
    ask: str | None = None
    once: bool = False


def run_file(options: RunOptions) -> int:
    """Runs until the question is answered, the chat ends or Ctrl-C; returns the exit code. Raises SpecFileError."""
    return asyncio.run(_run(options, read_spec_file(options.file)))


def say_condition(condition: str, message: str) -> None:
    with contextlib.suppress(OSError):  # the terminal is closed: what runs must still be drained
        print(f"{time.strftime('%H:%M:%S')} {condition:<11} {one_line(message)}", file=sys.stderr, flush=True)


class ConditionHandler(logging.Handler):
    """What libraries and tasks log, as a line among the others and without a traceback."""

    def emit(self, record: logging.LogRecord) -> None:
        say_condition("Trouble", record.getMessage())


async def _run(options: RunOptions, spec: SpecFile) -> int:
    """Runs the session: the first Ctrl-C ends the work, the second what finishes it, and no other is heard."""
    logging.basicConfig(level=logging.WARNING, handlers=[ConditionHandler()])
    try:
        root = Path(tempfile.mkdtemp(prefix="pagoda-"))
    except OSError as error:
        say_condition("Failed", f"no temporary folder can be made: {error}: set TMPDIR to one that can be written")
        return 1
    session = Session(options, spec, root)
    this = asyncio.current_task()
    assert this is not None
    _on_signal(this.cancel)
    code = await _outcome(session.work(), root)
    try:
        await session.close()
    except asyncio.CancelledError:
        _on_signal(lambda: None)
        await session.kill()
    if code == 0:
        shutil.rmtree(root, ignore_errors=True)
    return code


def _on_signal(call: Callable[[], object]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, call)


async def _outcome(work: Coroutine[None, None, None], root: Path) -> int:
    try:
        await work
    except asyncio.CancelledError:
        return 0
    except (SetupError, PlanError, SpecFileError, chat.ChatError, OSError) as error:
        say_condition("Failed", f"{error} (logs: {root})")
        return 1
    return 0


class Session:
    """The life of one `pagoda run`."""

    def __init__(self, options: RunOptions, spec: SpecFile, root: Path, say: Say = say_condition) -> None:
        self._options = options
        self._spec = spec
        self._root = root
        self._say = say
        self._count = 0
        self._door: FrontDoor | None = None
        self._alive: list[Generation] = []
        self._current: Generation | None = None
        self._tasks = Tasks()
        self._ending: set[asyncio.Task[None]] = set()
        self._file = FollowedFile(options.file, self._say_unchanged)
        self._pods_said = (0, 0)
        self._hooks = Hooks(self._on_exit, lambda trouble: say("Log", trouble))

    async def work(self) -> None:
        """Starts, then answers, chats or follows the file."""
        self._door = door = FrontDoor(listen(self._options.port), self._ready_urls, self._say_pods)
        await door.start()
        self._file.remember()
        current = await self._roll_to(self._spec, door)
        endpoint = chat.Endpoint(door.url, current.pod.model_name, current.api_key)
        if self._options.ask is not None:
            await chat.ask(endpoint, self._options.ask)
        if self._options.chat:
            await talk(endpoint)
        elif not self._options.once:
            await self._follow_file(door)

    async def close(self) -> None:
        """Closes the port, drains and stops everything."""
        if self._door is not None:
            await self._door.stop()
        if self._current is not None:
            self._say("Draining", "finishing what runs; Ctrl-C again stops at once")
            last, self._current = self._current, None
            self._in_background(self._retire(last, "Stopped"))
        await asyncio.gather(*self._ending, return_exceptions=True)
        await asyncio.gather(*(generation.kill() for generation in self._alive))

    async def kill(self) -> None:
        for task in self._ending:
            task.cancel()
        await asyncio.gather(*self._ending, return_exceptions=True)
        await asyncio.gather(*(generation.kill() for generation in self._alive))

    async def _follow_file(self, door: FrontDoor) -> None:
        """Rolls over to each new version of the file.

        NB: a file that changes in the middle of a roll-over ends it: the new version may be the mend of one that never
        becomes ready.
        """
        rolling: asyncio.Task[None] | None = None
        try:
            while True:
                content = await self._file.wait_change()
                if rolling is not None:
                    rolling.cancel()
                    await asyncio.gather(rolling, return_exceptions=True)
                rolling = self._tasks.spawn("roll-over", self._try_roll(content, door))
        finally:
            if rolling is not None:
                rolling.cancel()
                await asyncio.gather(rolling, return_exceptions=True)

    async def _try_roll(self, content: bytes, door: FrontDoor) -> None:
        try:
            await self._roll_to(parse_content(content, str(self._options.file)), door)
        except (SpecFileError, PlanError, SetupError, OSError) as error:
            self._say_unchanged(str(error))

    def _say_unchanged(self, trouble: str) -> None:
        state = "the old version runs on" if self._current is not None else "nothing runs: correct the file"
        self._say("Unchanged", f"{state}: {trouble}")

    async def _roll_to(self, spec: SpecFile, door: FrontDoor) -> Generation:
        """Starts `spec`'s replicas, then retires the previous ones; on failure those stay."""
        self._count += 1
        root = self._root / str(self._count)
        new = build_generation(build_local_pod(spec.deployment), spec, root, door.fd, self._hooks)
        self._alive.append(new)
        try:
            await self._bring_up(new)
            await door.open()
        except BaseException:
            await asyncio.shield(self._in_background(self._discard(new)))
            raise
        old, self._current = self._current, new
        self._pods_said = (len(new.replicas), len(new.replicas))
        self._say("Ready", f"{door.url}/v1  model={new.pod.model_name}{describe_count(len(new.replicas))}")
        if old is not None:
            self._in_background(self._retire(old))
        return new

    async def _bring_up(self, new: Generation) -> None:
        self._say("Fetching", new.pod.uri)
        await new.fetch(self._say_progress)
        if new.needs_gpu:
            await self._free_gpu()
        self._say("Starting", f"{new.pod.model_name}{describe_count(len(new.replicas))}")
        await new.start()

    async def _free_gpu(self) -> None:
        """Retires what holds the GPU. NB: shielded, for it goes on when the roll-over that wanted it is given up."""
        if self._current is not None:
            self._say("NoSurge", "two models do not fit on the GPU: 503 with Retry-After until the new one is loaded")
            old, self._current = self._current, None
            self._in_background(self._retire(old))
        await asyncio.shield(asyncio.gather(*self._ending))

    async def _retire(self, old: Generation, condition: str = "Retired") -> None:
        await old.retire()
        self._alive.remove(old)
        self._say(condition, f"{old.pod.model_name}: drained, every process has ended")

    async def _discard(self, new: Generation) -> None:
        await new.kill()
        self._alive.remove(new)

    def _in_background(self, end: Coroutine[None, None, None]) -> "asyncio.Task[None]":
        """Ends a version without holding up the new one, or the next change, while its last answers are long."""
        task = self._tasks.spawn("end of a version", end)
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        return task

    def _say_progress(self, line: str) -> None:
        if "MB/s" in line:  # the rest of what `pagoda fetch` says is in its log
            self._say("Fetching", line.removeprefix("fetch: "))

    def _ready_urls(self) -> list[str]:
        return [replica.ready_url for generation in self._alive for replica in generation.replicas]

    def _say_pods(self, ready: int, count: int) -> None:
        settled = self._alive == [self._current]  # in a roll-over there are two versions; its end is said by Ready
        if settled and (ready, count) != self._pods_said:
            self._pods_said = (ready, count)
            self._say("PodsReady", f"{ready} of {count}")

    def _on_exit(self, process: Supervised, code: int, backoff_seconds: float) -> None:
        self._say("Restarting", f"{process.spec.name} in {backoff_seconds:.0f} s: {process.describe_end(code)}")


def describe_count(replicas: int) -> str:
    return f"  replicas={replicas}" if replicas > 1 else ""
