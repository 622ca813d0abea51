"""The thread that steps the engine.

Commands come in through a queue and messages go out through a function, so that socket input and output go on beside
it; nothing else may touch the engine once the thread runs.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pagoda_server.engine.admission import build_in_use
from pagoda_server.engine.compiling import NOT_TAKEN, Compiled, Compiling, reject_grammar
from pagoda_server.engine.constraint import Constraint, FailedGrammar, GrammarCompiler
from pagoda_server.engine.engine import Engine
from pagoda_server.engine.runner import RunnerBroken
from pagoda_server.wire import Abort, Delta, Rejected, Stats, Submit, Timing

log = logging.getLogger(__name__)
Deliver = Callable[[Sequence[Delta | Rejected | Timing]], None]
IDLE_SECONDS = 0.25
BUSY_PREPARE_SECONDS = 2.0
"""Between two parts of the runner's preparation while requests run: each of them waits for it."""
MAX_FAILED_STEPS = 3
STATS_SECONDS = 0.1
"""Between two snapshots while requests run: each looks at all that wait."""
MAX_TAKEN_TOKENS = 65_536
"""Tokens of requests, prompts and what is asked of answers, taken up between two steps: streams wait for it."""


class Stop:
    """Ends the loop after the step in progress."""


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Aborts every request whose id starts with `prefix`; nobody is left to read their deltas."""

    prefix: str


Command = Submit | Compiled | Abort | Disconnect | Stop


def count_tokens(submit: Submit) -> int:
    """Counts the tokens that the engine looks at to take the request up."""
    sampling = submit.sampling
    lists = (submit.prompt_token_ids, sampling.logit_bias, sampling.allowed_token_ids or (), *sampling.bad_words)
    return sum(map(len, lists))


class EngineLoop:
    """`failure` is set before `on_end` is called when the engine cannot go on."""

    def __init__(
        self,
        engine: Engine,
        deliver: Deliver,
        on_end: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
        *,
        compiler: GrammarCompiler | None = None,
    ) -> None:
        """Without a compiler no request may have a grammar."""
        self.failure: BaseException | None = None
        self.stats: Stats = engine.stats()
        """The latest snapshot, replaced whole: safe to read from any thread."""
        self._engine = engine
        self._deliver = deliver
        self._on_end = on_end
        self._commands: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._compiling = None if compiler is None else Compiling(compiler, self.send, clock, engine.max_wait_seconds)
        self._failed_steps = 0
        self._clock = clock
        self._is_prepared = False
        self._prepare_at = clock() + BUSY_PREPARE_SECONDS
        """While requests run; an idle engine prepares at once."""
        self._stats_at = clock()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def send(self, command: Command) -> None:
        self._commands.put(command)

    def stop(self) -> None:
        self.send(Stop())
        self._thread.join()

    def _run(self) -> None:
        try:
            while self._take_commands():
                self._deliver(self._take_overdue())
                if self._engine.has_work:
                    self._deliver_step(self._guard(self._engine.step))
                if not self._is_prepared and (not self._engine.has_work or self._clock() >= self._prepare_at):
                    self._prepare()
                self._look()
            self._drain()  # NB: ranks end together, and not in the middle of a step
        except BaseException as error:
            log.critical("the engine cannot continue", exc_info=True)
            self.failure = error
        finally:
            self._on_end()

    def _take_commands(self) -> bool:
        """Takes up waiting commands, as many as a step may wait for; an idle engine waits a moment. False at Stop."""
        num_tokens = 0
        try:
            rests = self._is_prepared and not self._engine.has_work
            command = self._commands.get(block=rests, timeout=IDLE_SECONDS)
            while not isinstance(command, Stop):
                self._apply(command)
                num_tokens += count_tokens(command) if isinstance(command, Submit) else 0
                if num_tokens >= MAX_TAKEN_TOKENS:
                    return True
                command = self._commands.get_nowait()
        except queue.Empty:
            return True
        return False

    def _take_overdue(self) -> list[Rejected]:
        compiling = [] if self._compiling is None else self._compiling.take_overdue()
        return [*self._engine.reject_overdue(), *compiling]

    def _apply(self, command: Submit | Compiled | Abort | Disconnect) -> None:
        match command:
            case Submit():
                self._deliver(self._begin(command))
            case Compiled():
                self._deliver(self._end_compiling(command))
            case Abort():
                self._deliver(self._abort(command.request_id))
            case Disconnect():
                self._engine.abort_all(command.prefix)
                if self._compiling is not None:
                    self._compiling.abort_all(command.prefix)

    def _abort(self, request_id: str) -> list[Delta]:
        if self._compiling is not None and self._compiling.abort(request_id):
            return [Delta(request_id, [], finish_reason="abort")]
        delta = self._engine.abort(request_id)
        return [delta] if delta else []

    def _begin(self, submit: Submit) -> list[Delta | Rejected]:
        """Submits a request, or has its grammar compiled first."""
        if self._compiling is not None and self._compiling.has(submit.request_id):
            return [build_in_use(submit.request_id)]
        if submit.grammar is None:
            return self._submit(submit)
        if self._compiling is None:
            return [reject_grammar(submit.request_id, submit.grammar, NOT_TAKEN)]
        self._compiling.begin(submit, submit.grammar)
        return []

    def _end_compiling(self, compiled: Compiled) -> list[Delta | Rejected]:
        """Submits a request whose constraint is there. One that was aborted meanwhile is forgotten."""
        assert self._compiling is not None and compiled.submit.grammar is not None
        if not self._compiling.take(compiled):
            return []
        if isinstance(compiled.result, FailedGrammar):
            return [reject_grammar(compiled.submit.request_id, compiled.submit.grammar, compiled.result)]
        return self._submit(compiled.submit, compiled.result)

    def _submit(self, submit: Submit, constraint: Constraint | None = None) -> list[Delta | Rejected]:
        """Submits a request; if that raises, ends this request and not the engine."""
        try:
            rejection = self._engine.submit(submit, constraint)
        except Exception:
            log.exception("request could not be taken up request=%s", submit.request_id)
            return [Delta(submit.request_id, [], finish_reason="error")]
        return [rejection] if rejection else []

    def _guard(self, step: Callable[[], list[Delta]]) -> list[Delta]:
        """Runs a step; one that fails ends the requests it may have touched, several in a row the engine."""
        try:
            deltas = step()
        except RunnerBroken:
            raise
        except Exception:
            self._failed_steps += 1
            log.exception("step failed in_a_row=%d", self._failed_steps)
            if self._failed_steps >= MAX_FAILED_STEPS:
                raise
            deltas = self._engine.abort_running()
            self._engine.scheduler.check_integrity()
            return deltas
        self._failed_steps = 0
        return deltas

    def _drain(self) -> None:
        if self._engine.num_in_flight:
            self._deliver_step(self._guard(self._engine.drain))

    def _deliver_step(self, deltas: Sequence[Delta]) -> None:
        """Delivers the times of traced requests first: a reader lets go of a request with its last delta."""
        self._deliver(self._engine.timings.take())
        self._deliver(deltas)
        self._deliver(self._engine.take_rejections())

    def _look(self) -> None:
        if not self._engine.has_work or self._clock() >= self._stats_at:
            self.stats = self._engine.stats()
            self._stats_at = self._clock() + STATS_SECONDS

    def _prepare(self) -> None:
        """Does one part of what the runner left for later. When one fails the engine serves on without the rest."""
        self._drain()
        try:
            self._is_prepared = not self._engine.runner.prepare_next(idle=not self._engine.has_work)
        except RunnerBroken:
            raise
        except Exception:
            log.exception("preparing the runner failed, it serves as it is")
            self._is_prepared = True
        self._prepare_at = self._clock() + BUSY_PREPARE_SECONDS
