"""Run one process and keep it running: restart with back-off, remember what it said last, stop it politely.

It ends with this program, however that ends. Its pipe is always read, whatever the disk does.
"""

import asyncio
import contextlib
import os
import signal
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pagoda_cli.local.ending import describe_end, find_reason
from pagoda_cli.local.log_file import LogFile
from pagoda_cli.local.marked import MARK_VARIABLE, kill_marked
from pagoda_cli.local.plan import ProcessSpec
from pagoda_cli.text import one_line
from pagoda_guard.parent import bind_command
from pagoda_guard.tasks import Tasks
from pagoda_guard.termination import REFUSED

FIRST_BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS = 1.0, 30.0
STEADY_AFTER_SECONDS = 60.0
LOG_LINE_BYTES = 4096
LAST_LINES = 20
LAST_LINES_SECONDS = 2.0

CANNOT_START = 127
"""The exit code of what could not be started, as a shell has it."""

MOST_FIRST_STARTS = 3
"""What has ended so often without ever being ready would go on doing so."""

OnExit = Callable[["Supervised", int, float], None]
OnLine = Callable[[str, str], None]


def next_backoff(previous_seconds: float | None, lived_seconds: float) -> float:
    """Returns 1, 2, 4 … 30 s, beginning again after a process that lived for a minute."""
    if previous_seconds is None or lived_seconds >= STEADY_AFTER_SECONDS:
        return FIRST_BACKOFF_SECONDS
    return min(previous_seconds * 2, LONGEST_BACKOFF_SECONDS)


@dataclass(frozen=True, slots=True)
class Hooks:
    """`on_exit` is told the exit code and the pause before the next start, `on_trouble` what else is to be said;
    `prepare` makes, before each start, what the process needs. It may raise OSError. `on_line` is told each line."""

    on_exit: OnExit
    on_trouble: Callable[[str], None] = lambda trouble: None
    prepare: Callable[[], None] = lambda: None
    on_line: OnLine = lambda name, line: None


class Supervised:
    """A process that is started again when it ends, until `stop` is called."""

    def __init__(self, spec: ProcessSpec, log: Path, hooks: Hooks | OnExit) -> None:
        self.spec = spec
        self._hooks = hooks if isinstance(hooks, Hooks) else Hooks(hooks)
        self._lines: deque[str] = deque(maxlen=LAST_LINES)
        self._mark = uuid.uuid4().hex
        self._log = LogFile(log, self._hooks.on_trouble)
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False
        self._was_ready = False
        self._hopeless: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._tasks = Tasks()

    @property
    def last_line(self) -> str:
        return self._lines[-1] if self._lines else ""

    def describe_end(self, code: int) -> str:
        end, reason = describe_end(code), find_reason(self._lines)
        return f"{end}: {reason}" if reason else end

    def start(self) -> None:
        self._tasks.keep(self.spec.name, self._keep_running)

    def mark_ready(self) -> None:
        """It was ready once: from now on it is started again, whatever it ends with."""
        self._was_ready = True

    async def wait_hopeless(self) -> str:
        """Returns why it is not started again: it never was ready, and another start would end as the last."""
        return await asyncio.shield(self._hopeless)

    async def run_once(self, on_line: Callable[[str], None] | None = None) -> int:
        """Runs to the end and returns the exit code (an init container). Raises OSError when it cannot be started.

        NB: the pipe is not asyncio's, whose `wait` waits for the pipe's end too, and a child that was left holds it.
        """
        self._hooks.prepare()
        self._lines.clear()
        reader, transport, writer = await _open_pipe()
        try:
            self._process = process = await self._spawn(writer)
        except BaseException:
            transport.close()
            raise
        finally:
            os.close(writer)
        reading = self._tasks.spawn(f"read {self.spec.name}", self._read_lines(reader, on_line))
        try:
            code = await process.wait()
            kill_marked(self._mark)
            await asyncio.wait({reading}, timeout=LAST_LINES_SECONDS)
            return code
        finally:
            reading.cancel()
            transport.close()
            self._log.close()

    async def stop(self, grace_seconds: float) -> None:
        """Sends SIGTERM, and SIGKILL when the process does not end in time."""
        self._stopping = True
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), grace_seconds)
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        await self._tasks.stop()
        kill_marked(self._mark)

    async def _keep_running(self) -> None:
        loop = asyncio.get_running_loop()
        backoff: float | None = None
        starts = 0
        while not self._stopping:
            starts += 1
            started = loop.time()
            code = await self._live()
            if self._stopping:
                return
            if not self._was_ready and (code == REFUSED or starts >= MOST_FIRST_STARTS):
                self._hopeless.set_result(self._describe_hopeless(code))
                await asyncio.Event().wait()
            backoff = next_backoff(backoff, loop.time() - started)
            self._hooks.on_exit(self, code, backoff)
            await asyncio.sleep(backoff)

    def _describe_hopeless(self, code: int) -> str:
        if code == REFUSED:
            return find_reason(self._lines) or describe_end(code)
        return f"never ready in {MOST_FIRST_STARTS} starts: {self.describe_end(code)}"

    async def _live(self) -> int:
        """Lives one life of the process. What keeps it from starting (EMFILE, a full disk) may be gone next time."""
        try:
            return await self.run_once()
        except OSError as error:
            self._lines.append(one_line(f"cannot be started: {error}"))
            return CANNOT_START

    async def _spawn(self, output: int) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *bind_command(self.spec.command),
            env=os.environ | dict(self.spec.environment) | {"PYTHONUNBUFFERED": "1", MARK_VARIABLE: self._mark},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=self.spec.inherits,
            start_new_session=True,  # a Ctrl-C at the terminal reaches this program only, which drains first
        )

    async def _read_lines(self, reader: asyncio.StreamReader, on_line: Callable[[str], None] | None) -> None:
        """Copies the output to the log file and keeps its last lines; of an overlong line the end is kept."""
        pending = b""
        while chunk := await reader.read(LOG_LINE_BYTES):
            self._log.write(chunk)
            *lines, pending = (pending + chunk).split(b"\n")
            pending = pending[-LOG_LINE_BYTES:]
            for line in lines:
                self._take_line(line, on_line)
        self._take_line(pending, on_line)

    def _take_line(self, line: bytes, on_line: Callable[[str], None] | None) -> None:
        if text := one_line(line.decode(errors="replace")):
            self._lines.append(text)
            self._hooks.on_line(self.spec.name, text)
            if on_line is not None:
                on_line(text)


async def _open_pipe() -> tuple[asyncio.StreamReader, asyncio.BaseTransport, int]:
    """Returns where to read, what to close in the end, and the file to write to."""
    read_fd, write_fd = os.pipe()
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read_fd, "rb", buffering=0)
    )
    return reader, transport, write_fd
