"""Run one process and keep it running: restart with back-off, remember its last log line, stop it politely."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from pagoda_operator.cli.run.plan import ProcessSpec

FIRST_BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS = 1.0, 30.0
STEADY_AFTER_SECONDS = 60.0
LOG_LINE_BYTES = 4096

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
        self._log = log
        self._on_exit = on_exit
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._keep_running())

    async def run_once(self, on_line: Callable[[str], None] | None = None) -> int:
        """Run to the end and return the exit code (an init container)."""
        async for line in self._spawn():
            self.last_line = line
            if on_line is not None:
                on_line(line)
        return await self._wait()

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
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

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

    async def _wait(self) -> int:
        assert self._process is not None
        return await self._process.wait()

    async def _spawn(self) -> AsyncIterator[str]:
        """Start the process, yield its log lines and copy them to the log file."""
        self._process = process = await asyncio.create_subprocess_exec(
            *self.spec.command,
            env=os.environ | dict(self.spec.environment) | {"PYTHONUNBUFFERED": "1"},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            pass_fds=self.spec.inherits,
            start_new_session=True,  # a Ctrl-C at the terminal reaches this program only, which drains first
        )
        assert process.stdout is not None
        with self._log.open("ab", buffering=0) as log:
            pending = b""
            while chunk := await process.stdout.read(LOG_LINE_BYTES):
                log.write(chunk)
                *lines, pending = (pending + chunk).split(b"\n")
                pending = pending[-LOG_LINE_BYTES:]
                for line in lines:
                    if line.strip():
                        yield line.decode(errors="replace").strip()
            if pending.strip():
                yield pending.decode(errors="replace").strip()
