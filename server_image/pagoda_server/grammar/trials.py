"""The engine's end of the process that tries grammars (`trial.py`): starts it, asks it, and replaces it if it ends."""

import logging
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec

import pagoda_server
from pagoda_guard.memory_file import open_memory
from pagoda_guard.parent import bind_command
from pagoda_server.grammar.frames import Trial, Verdict, decode_verdict, receive, send
from pagoda_server.grammar.trial import READY
from pagoda_server.grammar.vocabulary import VocabularySource
from pagoda_server.wire import Grammar

log = logging.getLogger(__name__)
MAX_STARTS = 5
"""Of a process that ends by itself before it has tried anything."""
OnVerdict = Callable[[Verdict], None]
UNDECIDED = Verdict(0, is_undecided=True)


class Trials:
    """Verdicts come on a thread of this object. Build it on the thread that lives as long as this process."""

    def __init__(self, source: VocabularySource) -> None:
        self._source = open_memory("vocabulary")
        self._source.write(msgspec.msgpack.encode(source))
        self._source.flush()
        self._lock = threading.Lock()
        self._asked: dict[int, OnVerdict] = {}
        self._next = 0
        self._starts_left = MAX_STARTS
        self._is_closed = False
        self._to_send: queue.SimpleQueue[Trial | None] = queue.SimpleQueue()
        self._process = self._start()
        self._threads = [threading.Thread(target=run, name="trials", daemon=True) for run in (self._read, self._write)]
        for thread in self._threads:
            thread.start()

    def ask(self, grammar: Grammar, on_verdict: OnVerdict) -> None:
        """Returns at once, whatever the process does."""
        with self._lock:
            is_closed = self._is_closed
            if not is_closed:
                number, self._next = self._next, self._next + 1
                self._asked[number] = on_verdict
                self._to_send.put(Trial(number, grammar))
        if is_closed:
            on_verdict(UNDECIDED)

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            self._process.kill()
        self._to_send.put(None)
        for thread in self._threads:
            thread.join()
        self._source.close()

    def _start(self) -> "subprocess.Popen[bytes]":
        os.lseek(self._source.fileno(), 0, os.SEEK_SET)  # NB: the child's descriptor has the same position
        command = [sys.executable, "-m", "pagoda_server.grammar.trial", str(self._source.fileno())]
        folders = [str(Path(package).parent) for package in pagoda_server.__path__]
        path = os.pathsep.join(filter(None, [*folders, os.environ.get("PYTHONPATH", "")]))
        return subprocess.Popen(
            bind_command(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[self._source.fileno()],
            env={**os.environ, "PYTHONPATH": path},
        )

    def _write(self) -> None:
        while (trial := self._to_send.get()) is not None:
            stdin = self._process.stdin
            try:
                if stdin is not None:
                    send(stdin.fileno(), trial)
            except (OSError, ValueError):  # it ended: the other thread hears of that too
                self._hand_out(msgspec.structs.replace(UNDECIDED, number=trial.number))

    def _read(self) -> None:
        """Hands out verdicts until it is closed. A process that ends is replaced; what it was asked is undecided."""
        while not self._is_closed:
            process = self._process
            self._hear(process)
            with self._lock:
                asked, self._asked = self._asked, {}
                if not self._is_closed and self._starts_left > 0:
                    log.warning("the process that tries grammars ended code=%s", process.returncode)
                    self._starts_left -= 1
                    self._process = self._start()
                else:
                    self._is_closed = True
            for on_verdict in asked.values():
                self._call(on_verdict, UNDECIDED)

    def _hear(self, process: "subprocess.Popen[bytes]") -> None:
        """Returns once the process has ended."""
        assert process.stdin is not None and process.stdout is not None
        try:
            while (body := receive(process.stdout.fileno())) is not None:
                self._hand_out(decode_verdict.decode(body))
        except (OSError, msgspec.MsgspecError) as error:
            log.warning("the process that tries grammars cannot be heard error=%s", error)
        finally:
            process.kill()
            process.wait()
            process.stdin.close()
            process.stdout.close()

    def _hand_out(self, verdict: Verdict) -> None:
        with self._lock:
            on_verdict = self._asked.pop(verdict.number, None)
            if verdict.number == READY and verdict.problem is not None:
                self._starts_left = 0  # whoever asks is told by the compiler, which cannot build it either
            elif not verdict.is_undecided:
                self._starts_left = MAX_STARTS
        if on_verdict is not None:
            self._call(on_verdict, verdict)

    def _call(self, on_verdict: OnVerdict, verdict: Verdict) -> None:
        """Calls it; whatever that raises, the others hear of theirs."""
        try:
            on_verdict(verdict)
        except Exception:
            log.exception("a grammar's verdict could not be taken")
