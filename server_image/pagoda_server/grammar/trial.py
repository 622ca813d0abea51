"""The process that tries grammars, `python -m pagoda_server.grammar.trial FD`: the engine starts it.

It builds the vocabulary once, of what lies in the open file FD, and then forks for each grammar: one that overflows the
stack, takes all memory or never ends costs that child alone. Children that are not quick take turns with each other, so
that a quick one never waits for them. It has one thread, logs nothing of a client's, and never loads torch.
"""

import os
import select
import signal
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import msgspec

from pagoda_server.grammar.attempt import ATTEMPT_SECONDS, OVERDUE, SEARCH_SECONDS, attempt, find_place
from pagoda_server.grammar.child import Child, Pace, fork
from pagoda_server.grammar.frames import Trial, Verdict, decode_source, decode_trial, receive, send
from pagoda_server.grammar.vocabulary import NoVocabulary, Vocabulary, build_vocabulary

FROM_ENGINE, TO_ENGINE = 0, 1
MAX_QUICK = 4
QUICK_SECONDS = 0.05
"""Of CPU time, after which a child is no longer taken for a quick one."""
MAX_SLOW = 2
MAX_STOPPED = 8
"""Slow children that wait for a slow one's end; what comes beyond stays undecided."""
MAX_WALL_SECONDS = 5.0
"""On a machine that is busy, where CPU time is slow to come."""
READY = -1
NICENESS = 5
MOST_EXPENDABLE = "1000"


class TrialServer:
    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._children: dict[int, Child] = {}
        """By the descriptor that each is heard at."""
        self._waiting: deque[Callable[[], Child]] = deque()

    def serve(self) -> None:
        """Serves until the engine closes its end."""
        while self._step():
            now = time.monotonic()
            for child in self._children.values():
                if now > child.until:
                    self._look_after(child, now)
            while self._waiting and self._count(Pace.QUICK) < MAX_QUICK:
                child = self._waiting.popleft()()
                self._children[child.pipe] = child

    def _step(self) -> bool:
        until = min((child.until for child in self._children.values()), default=float("inf"))
        wait = None if until == float("inf") else max(0.0, until - time.monotonic()) + 0.01
        ready, _, _ = select.select([FROM_ENGINE, *self._children], [], [], wait)
        for descriptor in ready:
            if descriptor != FROM_ENGINE:
                self._hear(self._children[descriptor])
            elif (body := receive(FROM_ENGINE)) is None:
                return False
            else:
                trial = decode_trial.decode(body)
                self._waiting.append(partial(self._start_attempt, trial))
        return True

    def _count(self, pace: Pace) -> int:
        return sum(child.pace is pace for child in self._children.values())

    def _look_after(self, child: Child, now: float) -> None:
        if (
            child.pace is Pace.QUICK
            and child.read_cpu_seconds() < QUICK_SECONDS
            and now < child.begun + MAX_WALL_SECONDS
        ):
            child.until = now + QUICK_SECONDS
        elif child.pace is Pace.QUICK and self._count(Pace.SLOW) < MAX_SLOW:
            child.turn_slow(now + MAX_WALL_SECONDS)
        elif child.pace is Pace.QUICK and self._count(Pace.STOPPED) < MAX_STOPPED:
            child.stop()
        else:
            child.kill()

    def _hear(self, child: Child) -> None:
        if child.hear():
            return
        del self._children[child.pipe]
        child.bury()
        stopped = next((one for one in self._children.values() if one.pace is Pace.STOPPED), None)
        if child.pace is Pace.SLOW and stopped is not None:
            stopped.turn_slow(time.monotonic() + MAX_WALL_SECONDS)
        self._conclude(child)

    def _conclude(self, child: Child) -> None:
        """Passes on what a child found; if that is a fault, another first looks for its place."""
        verdict = child.verdict or Verdict(0, problem=OVERDUE, is_undecided=child.is_killed)
        is_sought = not child.is_search and child.trial.grammar.notation == "llguidance"
        problem = None if verdict.is_undecided else verdict.problem
        if is_sought and problem is not None:
            self._waiting.appendleft(partial(self._start_search, child.trial, problem))
        else:
            send(TO_ENGINE, msgspec.structs.replace(verdict, number=child.trial.number))

    def _start_attempt(self, trial: Trial) -> Child:
        def work() -> None:
            signal.setitimer(signal.ITIMER_PROF, ATTEMPT_SECONDS)
            send(TO_ENGINE, attempt(trial.grammar, self._vocabulary))

        return fork(trial, QUICK_SECONDS, work, keep_out=self._children)

    def _start_search(self, trial: Trial, problem: str) -> Child:
        def note(place: str, said: str) -> None:
            send(TO_ENGINE, Verdict(0, problem=said, place=place))

        def work() -> None:
            find_place(trial.grammar.text, problem, self._vocabulary, note)

        child = fork(trial, 2 * SEARCH_SECONDS, work, keep_out=self._children)
        child.pace, child.is_search, child.verdict = Pace.SEARCH, True, Verdict(0, problem=problem)
        return child


def step_back() -> None:
    """Lets the engine and the fronts go first, and be spared when memory is short."""
    os.nice(NICENESS)
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write(MOST_EXPENDABLE)


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):  # the engine closes its end when it ends
        signal.signal(number, signal.SIG_IGN)
    step_back()
    try:
        with os.fdopen(int(sys.argv[1]), "rb") as file:
            vocabulary = build_vocabulary(decode_source.decode(file.read()))
    except NoVocabulary as error:
        send(TO_ENGINE, Verdict(READY, problem=str(error)))
        return
    send(TO_ENGINE, Verdict(READY))
    TrialServer(vocabulary).serve()


if __name__ == "__main__":
    main()
