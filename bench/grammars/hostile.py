"""Whether any grammar can do harm: `python -m bench hostile-grammars --count 10000`, without a model.

Random, broken and hostile forms go the way of a request: read as in the front, tried in the process beside, compiled
and followed for some tokens in this one, as in the engine. Each is taken or refused; this process must live, and none
may take longer than `LIMIT_SECONDS`. The last line is JSON; the exit code is 1 for one that took longer.
"""

import argparse
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import numpy as np

from bench.grammars.inventions import invent
from pagoda_server.dialog.turn import JsonFormat
from pagoda_server.engine.constraint import Constraint, FailedGrammar
from pagoda_server.grammar.build import BadFormat, build_grammar
from pagoda_server.grammar.compiler import Compiler
from pagoda_server.grammar.vocabulary import read_source
from pagoda_server.wire import Grammar

LIMIT_SECONDS = 2.0
FOLLOWED_TOKENS = 40
AT_ONCE = 2
PATIENCE_SECONDS = 120.0
SAMPLE_MODEL = Path("server_image/sample_model/pagoda-tiny")


class Judge:
    def __init__(self, compiler: Compiler, vocab_size: int) -> None:
        self._compiler = compiler
        self._words = -(-vocab_size // 32)
        self.outcomes: Counter[str] = Counter()
        self.seconds: list[tuple[float, str]] = []
        self.mask_seconds: list[tuple[float, str]] = []
        """CPU time of the slowest mask of each that was taken."""
        self._lock = threading.Lock()

    def warm_up(self) -> None:
        """Waits for the vocabulary, which a server builds while it starts."""
        self._compile(build_grammar(JsonFormat(), param="form"))

    def judge(self, seed: int) -> None:
        kind, answer_format = invent(Random(seed))
        begun = time.monotonic()
        try:
            grammar: Grammar | None = build_grammar(answer_format, param="form")
        except BadFormat:
            grammar = None
        result = None if grammar is None else self._compile(grammar)
        taken = time.monotonic() - begun
        outcome, slowest = ("refused when read", 0.0) if grammar is None else self._follow(result, Random(seed))
        with self._lock:
            self.outcomes[outcome] += 1
            self.seconds.append((taken, f"{kind} of seed {seed}"))
            self.mask_seconds.append((slowest, f"{kind} of seed {seed}"))

    def _compile(self, grammar: Grammar) -> Constraint | FailedGrammar | None:
        """Returns None where there was no answer at all."""
        found: list[Constraint | FailedGrammar] = []
        done = threading.Event()

        def take(result: Constraint | FailedGrammar) -> None:
            found.append(result)
            done.set()

        self._compiler.compile(grammar, take)
        return found[0] if done.wait(PATIENCE_SECONDS) else None

    def _follow(self, result: Constraint | FailedGrammar | None, choose: Random) -> tuple[str, float]:
        """Returns what became of it, and the CPU seconds of its slowest mask."""
        if result is None:
            return "no answer", 0
        if isinstance(result, FailedGrammar):
            return ("to be tried again" if result.is_busy else "refused when tried"), 0
        masks, slowest = np.zeros((1, self._words), dtype=np.int32), 0.0
        for _ in range(FOLLOWED_TOKENS):
            begun = time.thread_time()
            self._compiler.fill([result], masks)
            slowest = max(slowest, time.thread_time() - begun)
            allowed = np.flatnonzero(np.unpackbits(masks.view(np.uint8), bitorder="little"))
            result.accept(int(choose.choice(allowed)))
            if result.error is not None:
                return "taken, and failed on the way", slowest
        return "taken", slowest


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench hostile-grammars", description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0, help="of the first; the others follow it")
    parser.add_argument("--model", type=Path, default=SAMPLE_MODEL, help="whose tokenizer is used")
    parser.add_argument("--vocab-size", type=int, default=4096)
    flags = parser.parse_args(argv)
    compiler = Compiler(read_source(flags.model, flags.vocab_size, (0,)))
    try:
        judge = Judge(compiler, flags.vocab_size)
        judge.warm_up()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(judge.judge, range(flags.seed, flags.seed + flags.count)))
    finally:
        compiler.close()
    return report(judge)


def report(judge: Judge) -> int:
    judge.seconds.sort(reverse=True)
    late = [name for seconds, name in judge.seconds if seconds > LIMIT_SECONDS]
    judge.mask_seconds.sort(reverse=True)
    for what, slowest in (("until it is judged", judge.seconds), ("of CPU for a mask", judge.mask_seconds)):
        for seconds, name in slowest[:5]:
            print(f"{seconds:6.3f} s {what}: {name}")
    shares = {f"p{share}_ms": 1000 * judge.seconds[len(judge.seconds) * (100 - share) // 100][0] for share in (50, 99)}
    slowest_of = {"slowest_s": judge.seconds[0][0], "slowest_mask_s": judge.mask_seconds[0][0]}
    figures = {**judge.outcomes, **shares, **slowest_of, "late": len(late)}
    print(json.dumps(figures))
    return int(bool(late) or bool(judge.outcomes["no answer"]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
