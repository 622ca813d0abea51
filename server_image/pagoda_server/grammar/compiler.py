"""From a grammar to a request's constraint: tried in another process first, then compiled in a thread of this one.

Nothing that was not tried is compiled here, where it could overflow the stack or never end. Equal grammars are compiled
once, also while they are being compiled.
"""

import logging
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from llguidance import LLMatcher

from pagoda_server.engine.constraint import Constraint, FailedGrammar, Masks, OnCompiled
from pagoda_server.grammar.attempt import STACK_BYTES
from pagoda_server.grammar.cache import LEAST_BYTES, Cache, Compiled, Key
from pagoda_server.grammar.frames import Verdict
from pagoda_server.grammar.limits import LIMITS, describe_failure
from pagoda_server.grammar.matcher import GrammarConstraint, MaskFiller
from pagoda_server.grammar.trials import Trials
from pagoda_server.grammar.vocabulary import NoVocabulary, Vocabulary, VocabularySource, build_vocabulary, read_source
from pagoda_server.grammar.workers import Workers
from pagoda_server.wire import Grammar

log = logging.getLogger(__name__)
THREADS = 2
MAX_COMPILING = 32
"""Different grammars at a time."""
BUSY = FailedGrammar("too many grammars are being compiled", is_busy=True)
CLOSED = FailedGrammar("the engine ends", is_busy=True)


class Compiler:
    """Builds the vocabulary beside what goes on. Any thread may ask; make it on the one that lives longest."""

    def __init__(self, source: VocabularySource) -> None:
        self._lock = threading.Lock()
        self._cache = Cache()
        self._compiling: dict[Key, list[OnCompiled]] = {}
        self._vocabulary: Vocabulary | None = None
        self._filler: MaskFiller | None = None
        self._missing: FailedGrammar | None = None
        """Why there is no vocabulary."""
        self._trials = Trials(source)
        self._workers = Workers("grammar", THREADS, 2 * STACK_BYTES)
        self._built = threading.Event()
        self._workers.submit(partial(self._build, source))

    def compile(self, grammar: Grammar, on_compiled: OnCompiled) -> None:
        """Returns at once; `on_compiled` is called on whatever thread, this one too when the grammar is known."""
        key = (grammar.notation, grammar.text)
        with self._lock:
            known = self._cache.get(key)
            if known is None and self._missing is not None:
                known = Compiled(failure=self._missing)
            if known is None and len(self._compiling) >= MAX_COMPILING and key not in self._compiling:
                known = Compiled(failure=BUSY)
            if known is None:
                waiting = self._compiling.setdefault(key, [])
                waiting.append(on_compiled)
                is_new = len(waiting) == 1
        if known is not None:
            on_compiled(self._copy(key, known))
        elif is_new:
            self._trials.ask(grammar, partial(self._take_verdict, key))

    def fill(self, constraints: Sequence[Constraint], masks: Masks) -> None:
        """Writes the mask of each constraint that this compiler made to its row."""
        assert self._filler is not None, "a constraint is there, so the vocabulary is"
        self._filler(constraints, masks)

    def close(self) -> None:
        self._trials.close()
        self._workers.close()
        with self._lock:
            waiting, self._compiling = self._compiling, {}
        for on_compiled in (one for ones in waiting.values() for one in ones):
            on_compiled(CLOSED)

    def _build(self, source: VocabularySource) -> None:
        try:
            self._vocabulary = build_vocabulary(source)
            self._filler = MaskFiller(self._vocabulary)
        except NoVocabulary as error:
            log.warning("structured output cannot be had with this model reason=%s", error)
            self._missing = FailedGrammar(f"structured output cannot be had with this model: {error}")
        self._built.set()

    def _take_verdict(self, key: Key, verdict: Verdict) -> None:
        """Runs on the thread that hears the trials."""
        if verdict.is_undecided:
            self._finish(key, Compiled(failure=self._missing or BUSY), is_kept=False)
        elif verdict.problem is not None:
            self._finish(key, Compiled(failure=FailedGrammar(verdict.problem, verdict.place)))
        else:
            self._workers.submit(partial(self._compile, key, verdict))

    def _compile(self, key: Key, verdict: Verdict) -> None:
        self._built.wait()
        if self._vocabulary is None:
            self._finish(key, Compiled(failure=self._missing), is_kept=False)
            return
        matcher = LLMatcher(self._vocabulary.tokens, verdict.text, log_level=0, limits=LIMITS)
        if matcher.is_error():  # NB: not what the trial found
            self._finish(key, Compiled(failure=FailedGrammar(describe_failure(matcher.get_error()))))
        else:
            self._finish(key, Compiled(matcher, num_bytes=max(LEAST_BYTES, verdict.memory_bytes)))

    def _finish(self, key: Key, compiled: Compiled, *, is_kept: bool = True) -> None:
        with self._lock:
            if is_kept:
                self._cache.put(key, compiled)
            waiting = self._compiling.pop(key, [])
        for on_compiled in waiting:
            on_compiled(self._copy(key, compiled))

    def _copy(self, key: Key, compiled: Compiled) -> Constraint | FailedGrammar:
        if compiled.matcher is None or self._vocabulary is None:
            return compiled.failure or BUSY
        return GrammarConstraint(compiled.matcher.deep_copy(), self._vocabulary, partial(self._forget, key))

    def _forget(self, key: Key) -> None:
        """Has a grammar compiled anew when it is asked for again."""
        with self._lock:
            self._cache.drop(key)


class NoCompiler:
    """In place of a compiler, for a model with which none can be had."""

    def __init__(self, reason: str) -> None:
        self._failure = FailedGrammar(f"structured output cannot be had with this model: {reason}")

    def compile(self, grammar: Grammar, on_compiled: OnCompiled) -> None:
        on_compiled(self._failure)

    def fill(self, constraints: Sequence[Constraint], masks: Masks) -> None:
        raise AssertionError("there are no constraints")

    def close(self) -> None:
        pass


def open_compiler(folder: Path, vocab_size: int, stop_token_ids: tuple[int, ...]) -> Compiler | NoCompiler:
    try:
        return Compiler(read_source(folder, vocab_size, stop_token_ids))
    except NoVocabulary as error:
        log.warning("structured output cannot be had with this model reason=%s", error)
        return NoCompiler(str(error))
