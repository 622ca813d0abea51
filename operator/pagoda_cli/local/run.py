"""`pagoda run` as a program: its folder, its signals, what it says, and the exit code."""

import asyncio
import logging
import shutil
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path

from pagoda_cli.local.chat import ChatError
from pagoda_cli.local.gpus import refuse_without_server
from pagoda_cli.local.plan import PlanError
from pagoda_cli.local.replica import SetupError
from pagoda_cli.local.run_folder import keep_logs, make_run_folder
from pagoda_cli.local.screen import Screen
from pagoda_cli.local.session import NOT_RUNNABLE, RunOptions, Session, Voice
from pagoda_cli.local.source import read_source
from pagoda_cli.local.spec_file import SpecFile

WITHOUT_LOGS = (PlanError, SetupError, ChatError)
"""Their messages say all that a log would."""


def run_source(argument: str, options: RunOptions) -> int:
    """Runs until the question is answered, the chat ends or Ctrl-C; returns the exit code.

    Raises SpecFileError and PlanError for what was refused before anything was started.
    """
    refuse_without_server()
    source = read_source(argument)
    return asyncio.run(_run(replace(options, file=source.file), source.spec, Screen(sys.stderr)))


class ConditionHandler(logging.Handler):
    """What libraries and tasks log, as a line among the others and without a traceback."""

    def __init__(self, screen: Screen) -> None:
        super().__init__()
        self._screen = screen

    def emit(self, record: logging.LogRecord) -> None:
        self._screen.say("Trouble", record.getMessage())


async def _run(options: RunOptions, spec: SpecFile, screen: Screen) -> int:
    """Runs the session: the first Ctrl-C ends the work, the second what finishes it, and no other is heard."""
    logging.basicConfig(level=logging.WARNING, handlers=[ConditionHandler(screen)])
    try:
        root = make_run_folder(time.time())
    except OSError as error:
        screen.say("Failed", f"no temporary folder can be made: {error}: set TMPDIR to one that can be written")
        return 1
    session = Session(options, spec, root, Voice(screen.say, screen.show, screen.log))
    this = asyncio.current_task()
    assert this is not None

    def end_work() -> None:
        screen.end_line()
        this.cancel()

    _on_signal(end_work)
    failure = await _find_failure(session.work())
    state = "every process has ended"
    try:
        await session.close()
    except asyncio.CancelledError:
        _on_signal(lambda: None)
        await session.kill()
        state = "at once: what ran was cut off"
    return _conclude(failure, state, root, screen)


def _conclude(failure: Exception | None, state: str, root: Path, screen: Screen) -> int:
    """Says the last line and leaves nothing behind, but for the logs where they say more than it."""
    if failure is None:
        shutil.rmtree(root, ignore_errors=True)
        screen.say("Stopped", state)
        return 0
    if not isinstance(failure, WITHOUT_LOGS) and keep_logs(root):
        screen.say("Failed", f"{failure} (logs: {root})")
        return 1
    shutil.rmtree(root, ignore_errors=True)
    screen.say("Failed", str(failure))
    return 1


def _on_signal(call: Callable[[], object]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, call)


async def _find_failure(work: Coroutine[None, None, None]) -> Exception | None:
    try:
        await work
    except asyncio.CancelledError:
        return None
    except (*NOT_RUNNABLE, ChatError) as error:
        return error
    return None
