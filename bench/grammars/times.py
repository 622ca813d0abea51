"""What forms of answers cost: `python -m bench grammars`, in CPU time, so that a busy machine tells the same.

For each kind: compiling it, its first mask, and the masks of random answers while its lexer is new and once others have
used it. Then the masks of a whole batch, filled as the engine has them filled.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import numpy as np
from llguidance import LLMatcher

from bench.grammars.kinds import KINDS
from pagoda_server.dialog.turn import AnswerFormat
from pagoda_server.grammar.attempt import convert
from pagoda_server.grammar.build import build_grammar
from pagoda_server.grammar.limits import LIMITS
from pagoda_server.grammar.matcher import GrammarConstraint, MaskFiller
from pagoda_server.grammar.vocabulary import Vocabulary, build_vocabulary, read_source

SAMPLE_MODEL = Path("server_image/sample_model/pagoda-tiny")
ANSWERS, TOKENS = 12, 80
BATCHES = (64, 256)
STEPS = 30


@dataclass
class Times:
    compile_ms: float
    first_us: float
    new_us: list[float] = field(default_factory=list)
    used_us: list[float] = field(default_factory=list)
    accept_us: list[float] = field(default_factory=list)


def compile_form(answer_format: AnswerFormat, vocabulary: Vocabulary) -> LLMatcher:
    text = convert(build_grammar(answer_format, param="form"))
    return LLMatcher(vocabulary.tokens, text, log_level=0, limits=LIMITS)


def measure(answer_format: AnswerFormat, vocabulary: Vocabulary, fill: MaskFiller) -> Times:
    begun = time.thread_time()
    root = compile_form(answer_format, vocabulary)
    times = Times(compile_ms=1000 * (time.thread_time() - begun), first_us=0)
    for seed in range(ANSWERS):
        taken = times.new_us if seed == 0 else times.used_us
        _follow(GrammarConstraint(root.deep_copy(), vocabulary), vocabulary, fill, Random(seed), taken, times.accept_us)
    times.first_us = times.new_us[0]
    return times


def _follow(
    constraint: GrammarConstraint,
    vocabulary: Vocabulary,
    fill: MaskFiller,
    choose: Random,
    fill_us: list[float],
    accept_us: list[float],
) -> None:
    masks = np.zeros((1, vocabulary.num_words), dtype=np.int32)
    for _ in range(TOKENS):
        begun = time.thread_time()
        fill([constraint], masks)
        filled = time.thread_time()
        allowed = np.flatnonzero(np.unpackbits(masks.view(np.uint8), bitorder="little"))
        token = int(choose.choice(allowed))
        chosen = time.thread_time()
        constraint.accept(token)
        accept_us.append(1e6 * (time.thread_time() - chosen))
        fill_us.append(1e6 * (filled - begun))
        if constraint.is_over:
            return


def measure_batch(vocabulary: Vocabulary, fill: MaskFiller, rows: int) -> list[float]:
    """Returns CPU milliseconds, of all threads, of each step's masks: rows of three kinds, each at its own place."""
    roots = [compile_form(KINDS[name], vocabulary) for name in ("person", "any object", "tree")]
    constraints = [GrammarConstraint(roots[row % 3].deep_copy(), vocabulary) for row in range(rows)]
    masks, taken, choose = np.zeros((rows, vocabulary.num_words), dtype=np.int32), [], Random(0)
    for _ in range(STEPS):
        begun = time.process_time()
        fill(constraints, masks)
        taken.append(1000 * (time.process_time() - begun))
        for row, constraint in enumerate(constraints):
            allowed = np.flatnonzero(np.unpackbits(masks[row].view(np.uint8), bitorder="little"))
            constraint.accept(int(choose.choice(allowed)))
    return taken


def show(name: str, times: Times) -> str:
    used = np.percentile(times.used_us, [50, 99, 100])
    masks = [times.first_us, np.mean(times.new_us), np.mean(times.used_us), *used]
    cells = [name, f"{times.compile_ms:.2f}", *(f"{one:.0f}" for one in masks), f"{np.mean(times.accept_us):.1f}"]
    return f"| {' | '.join(cells)} |"


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench grammars", description=__doc__)
    parser.add_argument("--model", type=Path, default=SAMPLE_MODEL, help="the folder of tokenizer.json")
    parser.add_argument("--vocab-size", type=int, default=4096, help="the width of the model's logits")
    parser.add_argument("--stop-token", type=int, default=0)
    parser.add_argument("--threads", type=int, help="default: as the engine has them")
    flags = parser.parse_args(argv)
    source = read_source(flags.model, flags.vocab_size, (flags.stop_token,))
    begun = time.thread_time()
    vocabulary = build_vocabulary(source)
    print(f"vocabulary of {flags.vocab_size}: {time.thread_time() - begun:.2f} s\n")
    fill = MaskFiller(vocabulary, flags.threads)
    print("| form | compile ms | first mask µs | new, mean | used, mean | p50 | p99 | max | accept µs |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    for name, answer_format in KINDS.items():
        print(show(name, measure(answer_format, vocabulary, fill)))
    print()
    for rows in BATCHES:
        taken = measure_batch(vocabulary, fill, rows)
        print(f"{rows} rows: median {np.median(taken):.2f} ms, slowest {max(taken):.2f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
