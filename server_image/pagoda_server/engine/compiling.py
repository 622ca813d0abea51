"""Requests whose grammars are being compiled: the engine hears of them once their constraints are there."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from pagoda_server.engine.admission import build_overdue
from pagoda_server.engine.constraint import Constraint, FailedGrammar, GrammarCompiler
from pagoda_server.wire import Grammar, Judge, Judged, Rejected, Submit

NOT_TAKEN = FailedGrammar("this engine takes no grammars; remove it")
MAX_WAIT_SECONDS = 60.0
"""Where the engine itself lets requests wait for as long as they like."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """The end of compiling, for the thread that steps. `submit` itself tells a request from a later one of its name."""

    submit: Submit
    result: Constraint | FailedGrammar


class Compiling:
    """`send` takes a `Compiled` from whatever thread to the one that calls everything else here."""

    def __init__(
        self,
        compiler: GrammarCompiler,
        send: Callable[[Compiled], None],
        clock: Callable[[], float],
        max_wait_seconds: float | None,
    ) -> None:
        self._compiler = compiler
        self._send = send
        self._clock = clock
        self._max_wait_seconds = MAX_WAIT_SECONDS if max_wait_seconds is None else max_wait_seconds
        self._waiting: OrderedDict[str, tuple[Submit, float]] = OrderedDict()
        """By their ids, with the time by which each must have been compiled; the first to come is the first overdue."""

    def begin(self, submit: Submit, grammar: Grammar) -> None:
        self._waiting[submit.request_id] = (submit, self._clock() + self._max_wait_seconds)
        self._compiler.compile(grammar, lambda result: self._send(Compiled(submit, result)))

    def has(self, request_id: str) -> bool:
        return request_id in self._waiting

    def take(self, compiled: Compiled) -> bool:
        """Returns whether its request still waits, which it then no longer does."""
        submit = compiled.submit
        if self._waiting.get(submit.request_id, (None,))[0] is not submit:
            return False
        del self._waiting[submit.request_id]
        return True

    def abort(self, request_id: str) -> bool:
        """Returns whether the request waited; nothing more is heard of it."""
        return self._waiting.pop(request_id, None) is not None

    def abort_all(self, prefix: str) -> None:
        for request_id in [one for one in self._waiting if one.startswith(prefix)]:
            del self._waiting[request_id]

    def take_overdue(self) -> list[Rejected]:
        rejections: list[Rejected] = []
        while self._waiting and next(iter(self._waiting.values()))[1] <= self._clock():
            request_id, _ = self._waiting.popitem(last=False)
            rejections.append(build_overdue(request_id))
        return rejections


def judge(compiler: GrammarCompiler | None, question: Judge, on_judged: Callable[[Judged], object]) -> None:
    """Returns at once; `on_judged` is called on whatever thread."""

    def answer(result: Constraint | FailedGrammar) -> None:
        failed = result if isinstance(result, FailedGrammar) else None
        rejected = None if failed is None else reject_grammar(question.request_id, question.grammar, failed)
        on_judged(Judged(question.request_id, rejected))

    if compiler is None:
        answer(NOT_TAKEN)
    else:
        compiler.compile(question.grammar, answer)


def reject_grammar(request_id: str, grammar: Grammar, failed: FailedGrammar) -> Rejected:
    if failed.is_busy:
        return Rejected(request_id, failed.problem, reason="overdue")
    where = f"{grammar.param} at {failed.place}" if failed.place else grammar.param
    return Rejected(request_id, f"{where}: {failed.problem}", grammar.param or None)
