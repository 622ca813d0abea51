"""What each sampling field costs our engine: closed loops in one process, each mix beside the plain one."""

import argparse
import json
import os
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.offline.measure import check_length
from bench.offline.pagoda import add_engine_arguments, build_engine, run_submits
from bench.work.arguments import SEQUENCE_TOKENS, add_model_arguments, argument_of
from bench.work.workload import TEMPERATURE, Width, Work, build_closed_loop, parse_width

if TYPE_CHECKING:
    from pagoda_server.engine.engine import Engine

PLAIN = "plain"
PENALTIES = {"presence_penalty": 0.4, "frequency_penalty": 0.3, "repetition_penalty": 1.1}
WARM_UP_TOKENS = 12
STATES = 8
"""Masks that a constrained answer goes through, in turn."""


@dataclass(frozen=True, slots=True)
class Mix:
    """What the requests of a loop ask for, one after another and then again from the first."""

    name: str
    fields: tuple[dict[str, Any], ...] = ({},)
    is_constrained: bool = False


MIXES = (
    Mix(PLAIN),
    Mix("greedy", ({"temperature": 0.0},)),
    Mix("top_p", ({"top_p": 0.95},)),
    Mix("top_k and top_p", ({"top_k": 40, "top_p": 0.95},)),
    Mix("penalties", (PENALTIES,)),
    Mix("penalties, one in 16", (PENALTIES, *({},) * 15)),
    Mix("logit_bias of 300", ({"logit_bias": tuple((token, 1.0) for token in range(300, 600))},)),
    Mix("min_tokens", ({"min_tokens": 200, "stop_token_ids": (5, 6, 7)},)),
    Mix("bad_words", ({"bad_words": tuple((token, token + 1) for token in range(300, 350))},)),
    Mix("logprobs 0", ({"logprobs": 0},)),
    Mix("logprobs 20", ({"logprobs": 20},)),
    Mix("masks", is_constrained=True),
    Mix("masks and penalties", (PENALTIES,), is_constrained=True),
    Mix("all of it", ({**PENALTIES, "top_p": 0.95, "logprobs": 5, "logit_bias": ((300, 1.0),)},), is_constrained=True),
)


class TurningConstraint:
    """Goes through a few masks in turn: what a grammar's bits cost from the host to the choice, without a grammar."""

    error: str | None = None

    def __init__(self) -> None:
        self.state = 0

    def accept(self, token_id: int) -> None:
        self.state += 1

    def rollback(self, num_tokens: int) -> None:
        self.state -= num_tokens


def build_masks(vocab_size: int, eos_token_ids: Sequence[int]) -> NDArray[np.int32]:
    """Returns [STATES, words]: each allows half of all tokens, and never the end."""
    draw = np.random.default_rng(0)
    bits = draw.random((STATES, -(-vocab_size // 32) * 32)) < 0.5
    bits[:, vocab_size:] = False
    bits[:, list(eos_token_ids)] = False
    return np.packbits(bits, axis=1, bitorder="little").view(np.int32)


def build_constrained_engine(built: "Engine") -> "Engine":
    """Returns an engine on the same device that knows masks."""
    from pagoda_server.engine.engine import Engine

    scheduler = built.scheduler
    known = build_masks(scheduler.limits.vocab_size, scheduler.limits.eos_token_ids)

    def fill(constraints: Sequence[Any], masks: NDArray[np.int32]) -> None:
        masks[:] = known[[constraint.state % STATES for constraint in constraints]]

    return Engine(built.runner, scheduler.limits, scheduler.pool, prefix_caching=False, fill_masks=fill)


def list_submits(engine: "Engine", work: Work, mix: Mix) -> Iterator[Callable[[], None]]:
    """Yields what submits one request after another."""
    from pagoda_server.wire import Sampling, Submit

    for index, (prompt, length, fields) in enumerate(
        zip(work.prompts, work.output_lengths, cycle(mix.fields), strict=False)
    ):
        asked: dict[str, Any] = {"temperature": TEMPERATURE, **fields}
        submit = Submit(str(index), prompt, Sampling(max_tokens=length, ignore_eos=True, **asked))
        yield partial(submit_one, engine, submit, is_constrained=mix.is_constrained)


def submit_one(engine: "Engine", submit: Any, *, is_constrained: bool) -> None:
    """Raises RuntimeError when the engine refuses it."""
    refusal = engine.submit(submit, TurningConstraint() if is_constrained else None)
    if refusal is not None:
        raise RuntimeError(f"a request was refused: {refusal.message}")


def run_loop(engine: "Engine", work: Work, mix: Mix, streams: int) -> float:
    """Returns the output tokens per second. Raises RuntimeError when tokens are missing."""
    seconds, made = run_submits(engine, list_submits(engine, work, mix), streams)
    for rejection in engine.take_rejections():
        raise RuntimeError(f"{mix.name}: {rejection.message}")
    if not any("stop_token_ids" in fields for fields in mix.fields):
        check_length(work, made)
    return made / seconds


def measure(engine: "Engine", width: Width, mixes: Sequence[Mix], repeats: int) -> Iterator[dict[str, Any]]:
    """Yields a figure for each mix; a plain loop runs beside each of its samples, so that a drift is none of its."""
    warm_up, work = build_closed_loop(Width(width.streams, width.streams)), build_closed_loop(width)
    for mix in mixes:
        length = WARM_UP_TOKENS + max(fields.get("min_tokens", 0) for fields in mix.fields)
        run_loop(engine, Work("warm up", warm_up.prompts, [length] * width.streams), mix, width.streams)
    for mix in mixes:
        samples = [
            (run_loop(engine, work, MIXES[0], width.streams), run_loop(engine, work, mix, width.streams))
            for _ in range(repeats)
        ]
        rate = statistics.median(own for _, own in samples)
        yield {
            "mix": mix.name,
            "streams": width.streams,
            "output_tokens_per_second": round(rate),
            "share_of_plain": round(statistics.median(own / plain for plain, own in samples), 3),
        }


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench sampling", description=__doc__)
    add_engine_arguments(add_model_arguments(parser))
    parser.add_argument(
        "--streams",
        type=argument_of(parse_width),
        nargs="*",
        default=[Width(64, 128), Width(256, 384)],
        metavar="STREAMSxREQUESTS",
        help="closed loops (default: 64x128 256x384)",
    )
    names = [mix.name for mix in MIXES]
    parser.add_argument("--mixes", nargs="*", choices=names, default=names, metavar="MIX", help="default: all")
    parser.add_argument("--repeats", type=int, default=1, help="samples; their median counts (default %(default)s)")
    args = parser.parse_args(argv)
    os.environ["HF_HUB_OFFLINE"] = "1"
    args.precision = "bf16"
    built = build_engine(args, max(args.max_model_len, SEQUENCE_TOKENS))
    engine = build_constrained_engine(built.engine)
    for width in args.streams:
        for figure in measure(engine, width, [mix for mix in MIXES if mix.name in args.mixes], args.repeats):
            line = json.dumps(figure)
            print(line, flush=True)
            if args.lines is not None:
                with args.lines.open("a") as file:
                    file.write(line + "\n")
    built.close()
    return 0
