"""Run one process and keep it running: restart with back-off, remember its last log line, stop it politely."""

import asyncio
import contextlib
import os
import signal
import uuid
from collections.abc import Callable
from pathlib import Path

from pagoda_operator.cli.run.marked import MARK_VARIABLE, kill_marked
from pagoda_operator.cli.run.plan import ProcessSpec

FIRST_BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS = 1.0, 30.0
STEADY_AFTER_SECONDS = 60.0
LOG_LINE_BYTES = 4096
LAST_LINES_SECONDS = 2.0

OnExit = Callable[["Supervised", int, float], None]


def next_backoff(previous_seconds: float | None, lived_seconds: float) -> float:
    """1, 2, 4 … 30 s; from the start again after a process that lived for a minute."""
    if previous_seconds is None or lived_seconds >= STEADY_AFTER_SECONDS:
        return FIRST_BACKOFF_SECONDS
    return min(previous_seconds * 2, LONGEST_BACKOFF_SECONDS)


class Supervised:
    """A process that is started again when it ends, until `stop` is called."""

    def __init__(self, spec: ProcessSpec, log: Path, on_exit: OnExit) -> None:
        self.spec = spec
        self.last_line = ""
        self._mark = uuid.uuid4().hex
        self._log = log
        self._on_exit = on_exit
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._keep_running())

    async def run_once(self, on_line: Callable[[str], None] | None = None) -> int:
        """Run to the end and return the exit code (an init container).

        NB: the pipe is not asyncio's, whose `wait` waits for the pipe's end too, and a child that was left holds it.
        """
        reader, transport, writer = await _open_pipe()
        try:
            self._process = process = await self._spawn(writer)
        finally:
            os.close(writer)
        reading = asyncio.create_task(self._read_lines(reader, on_line))
        try:
            code = await process.wait()
            kill_marked(self._mark)
            await asyncio.wait({reading}, timeout=LAST_LINES_SECONDS)
            return code
        finally:
            reading.cancel()
            transport.close()

    async def stop(self, grace_seconds: float) -> None:
        """SIGTERM, and SIGKILL when it does not end in time."""
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
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        kill_marked(self._mark)

    async def _keep_running(self) -> None:
        loop = asyncio.get_running_loop()
        backoff: float | None = None
        while not self._stopping:
            started = loop.time()
            code = await self.run_once()
            if self._stopping:
                return
            backoff = next_backoff(backoff, loop.time() - started)
            self._on_exit(self, code, backoff)
            await asyncio.sleep(backoff)

    async def _spawn(self, output: int) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *self.spec.command,
            env=os.environ | dict(self.spec.environment) | {"PYTHONUNBUFFERED": "1", MARK_VARIABLE: self._mark},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=self.spec.inherits,
            start_new_session=True,  # a Ctrl-C at the terminal reaches this program only, which drains first
        )

    async def _read_lines(self, reader: asyncio.StreamReader, on_line: Callable[[str], None] | None) -> None:
        """Copy the output to the log file, remember its last line."""
        with self._log.open("ab", buffering=0) as log:
            pending = b""
            while chunk := await reader.read(LOG_LINE_BYTES):
                log.write(chunk)
                *lines, pending = (pending + chunk).split(b"\n")
                pending = pending[-LOG_LINE_BYTES:]
                for line in lines:
                    self._take_line(line, on_line)
            self._take_line(pending, on_line)

    def _take_line(self, line: bytes, on_line: Callable[[str], None] | None) -> None:
        if text := line.decode(errors="replace").strip():
            self.last_line = text
            if on_line is not None:
                on_line(text)


async def _open_pipe() -> tuple[asyncio.StreamReader, asyncio.BaseTransport, int]:
    """Where to read, what to close in the end, and the file to write to."""
    read_fd, write_fd = os.pipe()
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read_fd, "rb", buffering=0)
    )
    return reader, transport, write_fd
