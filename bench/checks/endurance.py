"""Whether the engine leaks: `python -m bench endurance FOLDER --requests 100000`, in process, on a GPU or a CPU.

Short random requests on a small model, with seeds, penalties, top-p and aborts, on so few KV pages that they preempt
each other. In regular samples pages must add up and memory must not have grown since the first tenth. Exits with 1
when it has, or when a page, a row or a request is left at the end.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

import torch

from bench.checks.memory import MIB, Sample, Slack, count_objects, find_growth, read_rss_bytes
from pagoda_server.engine.batch import Chunk, Limits
from pagoda_server.engine.engine import Engine
from pagoda_server.engine.pages import PagePool
from pagoda_server.engine.request import Request
from pagoda_server.model.config import read_model_config
from pagoda_server.model.loader import load_model
from pagoda_server.start.phases import Phases
from pagoda_server.start.runner import RunnerOptions, build_runner
from pagoda_server.wire import Sampling, Submit

PAGE_SIZE, NUM_PAGES = 64, 32
MAX_SEQUENCES, MAX_TOKENS, BATCHED_TOKENS = 32, 256, 512
OUTSTANDING = 64
"""Requests submitted and not ended: half of them wait."""
NUM_SAMPLES = 100
ABORT_SHARE = 0.05
"""Aborted for each request that ends otherwise."""
PREFIX_SHARE, PENALTY_SHARE = 0.3, 0.1
MAX_OBJECTS = {Request.__name__: OUTSTANDING + MAX_SEQUENCES, Chunk.__name__: 2 * MAX_SEQUENCES}
"""A row of the device keeps its last request until the next one comes; two steps are in flight at most."""


@dataclass(slots=True)
class Totals:
    submitted: int = 0
    finished: int = 0
    aborted: int = 0
    tokens: int = 0
    steps: int = 0

    @property
    def ended(self) -> int:
        return self.finished + self.aborted


def build_engine(folder: Path, device: torch.device) -> Engine:
    """Computes in bf16 on a GPU, in float32 on a CPU."""
    config = read_model_config(folder)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    limits = Limits(MAX_TOKENS, MAX_SEQUENCES, BATCHED_TOKENS, config.vocab_size, config.eos_token_ids)
    options = RunnerOptions(limits=limits, num_pages=NUM_PAGES, page_size=PAGE_SIZE)
    runner = build_runner(load_model(folder, config, device, dtype), options, Phases())
    return Engine(runner, limits, PagePool(NUM_PAGES, PAGE_SIZE))


def build_request(random: Random, number: int, vocab_size: int) -> Submit:
    """Gives some requests a first page of the prompt that others have too."""
    prefix = [1 + number % 4] * PAGE_SIZE if random.random() < PREFIX_SHARE else []
    prompt = prefix + [random.randrange(vocab_size) for _ in range(random.randint(1, 96))]
    return Submit(str(number), prompt, build_sampling(random), cache_salt=random.choice(("", "tenant")))


def build_sampling(random: Random) -> Sampling:
    penalised = random.random() < PENALTY_SHARE
    return Sampling(
        max_tokens=random.randint(1, 64),
        temperature=random.choice((0.0, 0.6, 1.0)),
        top_p=random.choice((1.0, 0.95, 0.5)),
        top_k=random.choice((0, 0, 20)),
        min_p=random.choice((0.0, 0.0, 0.05)),
        seed=random.choice((None, random.getrandbits(32))),
        presence_penalty=0.5 if penalised else 0.0,
        frequency_penalty=0.2 if penalised else 0.0,
        repetition_penalty=1.1 if penalised else 1.0,
        logprobs=random.choice((None, None, None, 0, 3)),
        ignore_eos=random.random() < 0.75,
    )


def drive(engine: Engine, random: Random, num_requests: int, vocab_size: int) -> Iterator[Totals]:
    """Yields the totals after every step, `OUTSTANDING` requests at a time. Raises RuntimeError when one is refused."""
    totals, outstanding = Totals(), dict[str, None]()
    while totals.submitted < num_requests or engine.has_work:
        while totals.submitted < num_requests and len(outstanding) < OUTSTANDING:
            submit_next(engine, build_request(random, totals.submitted, vocab_size))
            outstanding[str(totals.submitted)] = None
            totals.submitted += 1
        deltas = engine.step()
        ended = [delta.request_id for delta in deltas if delta.finish_reason]
        for request_id in ended:
            del outstanding[request_id]
        totals.steps += 1
        totals.tokens += sum(len(delta.token_ids) for delta in deltas)
        totals.finished += len(ended)
        totals.aborted += sum(abort_one(engine, random, outstanding) for _ in ended)
        yield totals


def submit_next(engine: Engine, submit: Submit) -> None:
    refusal = engine.submit(submit)
    if refusal is not None:
        raise RuntimeError(f"request {submit.request_id} was refused: {refusal.message}")


def abort_one(engine: Engine, random: Random, outstanding: dict[str, None]) -> int:
    """Seldom aborts any of them, be it waiting, running or in flight, and returns how many."""
    if not outstanding or random.random() >= ABORT_SHARE:
        return 0
    request_id = random.choice(list(outstanding))
    del outstanding[request_id]
    engine.abort(request_id)
    return 1


def take_sample(ended: int) -> Sample:
    cuda_bytes = torch.cuda.memory_allocated() if torch.cuda.is_available() else 0
    return Sample(ended, read_rss_bytes(), cuda_bytes, count_objects((Request, Chunk)))


def find_leftovers(engine: Engine) -> list[str]:
    """Returns, in words, what an engine without work still holds."""
    stats, pool = engine.stats(), engine.scheduler.pool
    counts = {"running requests": stats.running, "waiting requests": stats.waiting, "owned pages": pool.num_owned}
    counts["lost pages"] = stats.total_pages - stats.free_pages - stats.cached_pages - pool.num_owned
    return [f"{count} {name} are left at the end" for name, count in counts.items() if count]


def endure(engine: Engine, num_requests: int, seed: int, vocab_size: int) -> tuple[Totals, list[Sample]]:
    """Raises AssertionError when pages or rows do not add up."""
    every, samples, totals = max(1, num_requests // NUM_SAMPLES), [take_sample(0)], Totals()
    for totals in drive(engine, Random(seed), num_requests, vocab_size):
        if totals.ended >= samples[-1].ended + every:
            engine.scheduler.check_integrity()
            samples.append(take_sample(totals.ended))
            print_progress(engine, totals, samples[-1])
    engine.scheduler.check_integrity()
    return totals, [*samples, take_sample(totals.ended)]


def print_progress(engine: Engine, totals: Totals, sample: Sample) -> None:
    objects = ", ".join(f"{count} {name}" for name, count in sample.objects.items())
    memory = f"RSS {sample.rss_bytes / MIB:.1f} MiB, GPU {sample.cuda_bytes / MIB:.1f} MiB"
    print(
        f"{totals.ended:>9,} ended, {totals.aborted:,} aborted, {engine.scheduler.num_preemptions:,} preemptions, "
        f"{totals.tokens:,} tokens; {memory}, {objects}",
        flush=True,
    )


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench endurance", description=__doc__)
    parser.add_argument("folder", type=Path, help="of a small model, such as server_image/sample_model/pagoda-tiny")
    parser.add_argument("--requests", type=int, default=100_000, help="in all (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the requests (default %(default)s)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: %(default)s")
    parser.add_argument("--rss-slack-mib", type=float, default=64, help="growth allowed (default %(default)s)")
    parser.add_argument("--cuda-slack-mib", type=float, default=8, help="growth allowed (default %(default)s)")
    args = parser.parse_args(argv)
    if args.requests < 1:
        parser.error(f"--requests is {args.requests}; give at least 1")
    device = "cuda" if args.device == "auto" and torch.cuda.is_available() else args.device
    engine = build_engine(args.folder, torch.device("cpu" if device == "auto" else device))
    begin = time.monotonic()
    totals, samples = endure(engine, args.requests, args.seed, read_model_config(args.folder).vocab_size)
    seconds = time.monotonic() - begin
    slack = Slack(int(args.rss_slack_mib * MIB), int(args.cuda_slack_mib * MIB))
    problems = find_leftovers(engine) + find_growth(samples, slack, MAX_OBJECTS)
    summary = asdict(totals) | {
        "preemptions": engine.scheduler.num_preemptions,
        "seconds": round(seconds, 1),
        "samples": [asdict(samples[0]), asdict(samples[len(samples) // 10]), asdict(samples[-1])],
        "problems": problems,
    }
    print(json.dumps(summary))
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0
