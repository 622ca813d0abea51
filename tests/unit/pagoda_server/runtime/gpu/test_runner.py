"""The fast runner chooses the reference's tokens, one step ahead of the host, whatever batch, preemptions and ranks."""

import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from msgspec.structs import replace
from torch import Tensor, nn

from pagoda_server.engine.batch import Limits
from pagoda_server.engine.constraint import Constraint
from pagoda_server.engine.engine import Engine
from pagoda_server.engine.pages import PagePool
from pagoda_server.engine.runner import Runner
from pagoda_server.kernels.e4m3 import E4M3
from pagoda_server.kernels.gemv import GemvTile
from pagoda_server.kernels.linear import LinearTile, build_linear_scratch
from pagoda_server.model.config import divide, read_model_config
from pagoda_server.model.llama import Layer, Llama
from pagoda_server.model.loader import load_model
from pagoda_server.model.shard import Shard
from pagoda_server.parallel.channel import Channel
from pagoda_server.parallel.follower import Follower
from pagoda_server.parallel.leader import ParallelRunner
from pagoda_server.parallel.messages import Step
from pagoda_server.runtime.gpu.projections import (
    GemvBackend,
    LayerBackends,
    ProjectionPlan,
    ResidualStream,
    SeparateBackend,
    TiledBackend,
    torch_linear,
)
from pagoda_server.runtime.gpu.runner import GpuRunner
from pagoda_server.runtime.reference.runner import ReferenceRunner
from pagoda_server.wire import Sampling, Submit, TokenLogprobs
from tests.doubles.constraints import TableConstraint, fill_masks
from tests.doubles.runners import GuardedRunner
from tests.doubles.tiny_models import write_model

pytestmark = [
    pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning"),  # the noise's integers wrap
    pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning"),  # padding rows are garbage
    pytest.mark.filterwarnings("ignore:All-NaN slice encountered:RuntimeWarning"),
]
PAGE_SIZE = 16
LIMITS = Limits(max_model_len=100, max_num_seqs=4, max_batched_tokens=32, vocab_size=199, eos_token_ids=(2,))
SIZES = {"hidden_size": 32, "intermediate_size": 48, "max_position_embeddings": 128}
Answers = dict[str, tuple[list[int], list[TokenLogprobs]]]


def build_model(family: str, folder: Path, *, fp8: bool = False) -> Llama:
    write_model(folder, family, **SIZES | ({"head_dim": 32} if family == "qwen3" else {}))
    return load_model(folder, read_model_config(folder), torch.device("cpu"), torch.float32, fp8=fp8)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Llama:
    return build_model("llama", tmp_path_factory.mktemp("model"))


def build_small_batch_plan(device: torch.device) -> ProjectionPlan:
    """Our kernels wherever they can be."""
    tiled, gemv = TiledBackend(LinearTile(16, 16), build_linear_scratch(256, device)), GemvBackend(GemvTile(4, 32))
    return ProjectionPlan({1: LayerBackends(gemv, gemv, gemv, gemv), 4: LayerBackends(tiled, tiled, tiled, tiled)})


def answer(
    runner: Runner,
    pages: int,
    samplings: list[tuple[int, Sampling]],
    constrain: Callable[[Sampling], Constraint | None] = lambda _: None,
) -> tuple[Answers, int]:
    """Each request's tokens and logprobs, and how many were preempted. `samplings`: prompt lengths with them."""
    engine = Engine(runner, LIMITS, PagePool(pages, PAGE_SIZE), fill_masks=fill_masks)
    generator = torch.Generator().manual_seed(3)
    answers: Answers = {}
    for index, (length, sampling) in enumerate(samplings):
        prompt = torch.randint(3, 199, (length,), generator=generator).tolist()
        assert engine.submit(Submit(str(index), prompt, sampling), constrain(sampling)) is None
        answers[str(index)] = ([], [])
    while engine.has_work:
        for delta in engine.step():
            answers[delta.request_id][0].extend(delta.token_ids)
            answers[delta.request_id][1].extend(delta.logprobs or ())
            if delta.finish_reason is None:
                assert engine.num_in_flight <= 1
    assert not engine.take_rejections()
    return answers, engine.stats().preemptions


GREEDY = Sampling(max_tokens=3, temperature=0.0)
REQUESTS = [
    (20, GREEDY),
    (1, Sampling(max_tokens=4, temperature=0.0, frequency_penalty=0.7, presence_penalty=0.4, repetition_penalty=1.3)),
    (40, Sampling(max_tokens=3, temperature=0.0, logprobs=2)),
    (16, GREEDY),
    (33, Sampling(max_tokens=3, temperature=0.0, stop_token_ids=(7,), min_tokens=2)),
]
PENALTIES: dict[str, Any] = {"frequency_penalty": 0.7, "presence_penalty": 0.4, "repetition_penalty": 1.3}
OWN_LOGITS = [
    (9, Sampling(max_tokens=6, temperature=0.0, **PENALTIES)),
    (4, Sampling(max_tokens=4, temperature=0.0, logit_bias=tuple((token, 3.0) for token in range(40, 90)))),
    (20, Sampling(max_tokens=4, temperature=0.0, allowed_token_ids=tuple(range(11, 19)), logprobs=2)),
    (2, Sampling(max_tokens=5, temperature=0.0, allowed_token_ids=(5, 6, 8), bad_words=((5, 5), (6, 6), (5, 6, 5)))),
    (7, GREEDY),
    (3, Sampling(max_tokens=5, temperature=0.0, allowed_token_ids=tuple(range(30)), bad_words=((17,),), **PENALTIES)),
]
"""One does not have to know what the others ask."""
CROWDED = [(31, Sampling(max_tokens=4, temperature=0.0))] * 2
"""In five pages one of them is preempted."""


def tokens_of(answers: Answers) -> dict[str, list[int]]:
    return {name: tokens for name, (tokens, _) in answers.items()}


@pytest.mark.parametrize(("family", "projections"), [("llama", "torch"), ("llama", "kernels"), ("qwen3", "torch")])
def test_same_tokens_and_logprobs_as_the_reference(family: str, projections: str, tmp_path: Path) -> None:
    model = build_model(family, tmp_path)
    plan = build_small_batch_plan(model.embedding.device) if projections == "kernels" else ProjectionPlan()
    expected, _ = answer(ReferenceRunner(model, 16, PAGE_SIZE), 16, REQUESTS)
    found, _ = answer(GpuRunner(model, LIMITS, 16, PAGE_SIZE, projections=plan), 16, REQUESTS)
    assert tokens_of(found) == tokens_of(expected)
    chosen = [[logprobs.chosen for logprobs in answers["2"][1]] for answers in (found, expected)]
    assert len(chosen[0]) == 3 and chosen[0] == pytest.approx(chosen[1], abs=1e-3)
    top = [[[token for token, _ in logprobs.top] for logprobs in answers["2"][1]] for answers in (found, expected)]
    assert top[0] == top[1] and [len(one) for one in top[0]] == [2, 2, 2]


def test_the_last_layer_computes_only_the_tokens_that_choose(model: Llama) -> None:
    """Counts the rows of a step with prompts: of the others no layer reads more than keys and values."""
    computed: dict[nn.Module, int] = {}

    @dataclass(frozen=True)
    class Counting(SeparateBackend):
        def write(self, x: Tensor, projection: nn.Linear, stream: ResidualStream) -> None:
            computed[projection] = max(computed.get(projection, 0), x.shape[0])
            super().write(x, projection, stream)

    counting = Counting("counting", torch_linear)
    projections = ProjectionPlan(otherwise=LayerBackends(output=counting, down=counting))
    answer(GpuRunner(model, LIMITS, 16, PAGE_SIZE, projections=projections), 16, [(30, Sampling(max_tokens=1))])
    first, last = (cast(Layer, layer) for layer in model.layers)
    assert computed == {first.output: 32, first.down: 32, last.output: 4, last.down: 4}


def test_preempted_is_undisturbed(model: Llama) -> None:
    expected, none = answer(ReferenceRunner(model, 16, PAGE_SIZE), 16, CROWDED)
    found, some = answer(GpuRunner(model, LIMITS, 5, PAGE_SIZE), 5, CROWDED)
    assert (none, some) == (0, 1)
    assert tokens_of(found) == tokens_of(expected)


def test_a_seed_repeats_whatever_the_batch(model: Llama) -> None:
    seeded = (10, Sampling(max_tokens=4, temperature=0.9, top_p=0.9, seed=5))
    alone, _ = answer(GpuRunner(model, LIMITS, 16, PAGE_SIZE), 16, [seeded])
    among, _ = answer(GpuRunner(model, LIMITS, 16, PAGE_SIZE), 16, [seeded, (12, GREEDY), (3, GREEDY)])
    assert alone["0"][0] == among["0"][0]


def test_deterministic_gives_the_references_tokens_and_bears_preemption(model: Llama) -> None:
    expected, _ = answer(ReferenceRunner(model, 16, PAGE_SIZE), 16, CROWDED + REQUESTS)
    found, some = answer(GpuRunner(model, LIMITS, 5, PAGE_SIZE, deterministic=True), 5, CROWDED + REQUESTS)
    assert some
    assert tokens_of(found) == tokens_of(expected)


def test_fp8_weights_and_pages_give_the_references_tokens_and_bear_preemption(tmp_path: Path) -> None:
    model = build_model("llama", tmp_path, fp8=True)
    expected, _ = answer(ReferenceRunner(model, 16, PAGE_SIZE, E4M3), 16, CROWDED)
    found, some = answer(GpuRunner(model, LIMITS, 5, PAGE_SIZE, kv_dtype=E4M3), 5, CROWDED)
    assert some == 1
    assert tokens_of(found) == tokens_of(expected)


def test_logits_of_a_requests_own_are_the_references_and_nobody_elses(model: Llama) -> None:
    expected, _ = answer(ReferenceRunner(model, 32, PAGE_SIZE), 32, OWN_LOGITS)
    found, _ = answer(GpuRunner(model, LIMITS, 32, PAGE_SIZE), 32, OWN_LOGITS)
    assert tokens_of(found) == tokens_of(expected)
    assert set(found["2"][0]) <= set(range(11, 19))
    assert len(found["2"][1]) == 4, "log-probabilities are the model's own, whatever may be chosen"


def test_one_that_leaves_itself_no_token_ends_alone_and_is_told_why(model: Llama) -> None:
    cornered = Sampling(max_tokens=9, temperature=0.0, allowed_token_ids=(5,), bad_words=((5, 5),))
    for runner in (ReferenceRunner(model, 16, PAGE_SIZE), GpuRunner(model, LIMITS, 16, PAGE_SIZE)):
        engine = Engine(runner, LIMITS, PagePool(16, PAGE_SIZE))
        for name, sampling in (("cornered", cornered), ("other", GREEDY)):
            assert engine.submit(Submit(name, [3, 4], sampling)) is None
        deltas = []
        while engine.has_work:
            deltas += engine.step()
        assert [delta.token_ids for delta in deltas if delta.request_id == "cornered"] == [[5]]
        assert [delta.finish_reason for delta in deltas if delta.request_id == "other"] == [None, None, "length"]
        (rejection,) = engine.take_rejections()
        assert rejection.request_id == "cornered" and "no token may come next" in rejection.message


@pytest.mark.parametrize("sampling", [OWN_LOGITS[0][1], OWN_LOGITS[3][1]], ids=["penalties", "bad_words"])
def test_a_row_that_is_opened_again_knows_what_its_answer_said(sampling: Sampling, model: Llama) -> None:
    crowded = [(31, replace(sampling, max_tokens=4))] * 2
    expected, none = answer(ReferenceRunner(model, 16, PAGE_SIZE), 16, crowded)
    found, some = answer(GpuRunner(model, LIMITS, 5, PAGE_SIZE), 5, crowded)
    assert (none, some) == (0, 1)
    assert tokens_of(found) == tokens_of(expected)


TABLE = {0: {10: 1, 11: 1, 12: 0}, 1: {20: 2, 21: 0}, 2: {30: 0, 31: 1, 2: -1}}
CONSTRAINED = [
    (20, Sampling(max_tokens=4, temperature=0.0, seed=1)),
    (7, GREEDY),
    (3, Sampling(max_tokens=6, temperature=0.0, seed=1, min_tokens=4, logprobs=1, **PENALTIES)),
    (5, Sampling(max_tokens=4, temperature=0.0, allowed_token_ids=(3, 4, 5))),
    (10, Sampling(max_tokens=4, temperature=0.0, seed=1, logit_bias=((21, -100.0),), bad_words=((10,), (31, 20)))),
]
"""Those with a seed are constrained."""


def follow_table(sampling: Sampling) -> TableConstraint | None:
    return None if sampling.seed is None else TableConstraint(TABLE, LIMITS.eos_token_ids)


@pytest.mark.parametrize(
    ("pages", "requests", "preempted"),
    [(32, CONSTRAINED, 0), (5, [(31, Sampling(max_tokens=4, temperature=0.0, seed=1))] * 2, 1)],
    ids=["mixed", "preempted"],
)
def test_constrained_answers_follow_their_masks_one_step_ahead(
    pages: int, requests: list[tuple[int, Sampling]], preempted: int, model: Llama
) -> None:
    expected, _ = answer(ReferenceRunner(model, 32, PAGE_SIZE), 32, requests, follow_table)
    found, some = answer(GpuRunner(model, LIMITS, pages, PAGE_SIZE), pages, requests, follow_table)
    assert some == preempted
    assert tokens_of(found) == tokens_of(expected)
    for index, (_, sampling) in enumerate(requests):
        if (constraint := follow_table(sampling)) is not None:
            for token_id in found[str(index)][0]:
                constraint.accept(token_id)
            assert constraint.error is None


def score(runner: Runner, pages: int, lengths: list[int], *, max_tokens: int) -> list[list[TokenLogprobs]]:
    """What prompts are scored with, beside one that is not."""
    engine, generator = Engine(runner, LIMITS, PagePool(pages, PAGE_SIZE)), torch.Generator().manual_seed(3)
    scores: list[list[TokenLogprobs]] = [[] for _ in lengths]
    assert engine.submit(Submit("plain", [5, 6, 7], GREEDY)) is None
    for index, length in enumerate(lengths):
        prompt = torch.randint(3, 199, (length,), generator=generator).tolist()
        sampling = Sampling(max_tokens=max_tokens, temperature=0.0, prompt_logprobs=index)
        assert engine.submit(Submit(str(index), prompt, sampling)) is None
    reasons = {}
    while engine.has_work:
        for delta in engine.step():
            reasons[delta.request_id] = delta.finish_reason
            for part in delta.prompt_logprobs or ():
                assert part.start == len(scores[int(delta.request_id)]) + 1
                scores[int(delta.request_id)] += part.unpack()
    assert set(reasons.values()) == {"length"} and len(reasons) == len(lengths) + 1
    return scores


@pytest.mark.parametrize("max_tokens", [0, 2])
def test_prompts_are_scored_as_the_reference_scores_them_in_chunks(max_tokens: int, model: Llama) -> None:
    """More tokens at a time than there are rows, and than a step has."""
    lengths = [1, 2, 45]
    expected = score(ReferenceRunner(model, 16, PAGE_SIZE), 16, lengths, max_tokens=max_tokens)
    found = score(GpuRunner(model, LIMITS, 16, PAGE_SIZE), 16, lengths, max_tokens=max_tokens)
    assert [len(one) for one in found] == [length - 1 for length in lengths]
    for one, other in zip(chain(*found), chain(*expected), strict=True):
        assert one.chosen == pytest.approx(other.chosen, abs=1e-3)
        assert [token for token, _ in one.top] == [token for token, _ in other.top]
        assert [value for _, value in one.top] == pytest.approx([value for _, value in other.top], abs=1e-3)


VARIED = [
    (20, Sampling(max_tokens=2, temperature=0.0)),
    (3, Sampling(max_tokens=3, temperature=0.0, frequency_penalty=0.7, presence_penalty=0.4, repetition_penalty=1.3)),
    (9, Sampling(max_tokens=3, temperature=0.0, stop_token_ids=(7,), min_tokens=2, bad_words=((9,), (5, 6)))),
    (4, Sampling(max_tokens=3, temperature=0.0, seed=1, logit_bias=((20, 9.0),))),
]
"""What a follower has to be told of: the last is constrained."""


class Turns:
    """Two ranks as threads of this process: one computes until both must meet, as the interpreter is not for two."""

    def __init__(self) -> None:
        self.turn, self.meeting = threading.Lock(), threading.Barrier(2, timeout=60)
        self.shares: dict[int, torch.Tensor] = {}

    def exchange(self, rank: int, x: torch.Tensor) -> torch.Tensor:
        """[2, *x.shape]"""
        self.shares[rank] = x.clone()
        self.turn.release()
        self.meeting.wait()
        both = torch.stack([self.shares[0], self.shares[1]])
        self.meeting.wait()
        self.turn.acquire()
        return both


class TurnGroup:
    """Implements `Group`."""

    def __init__(self, turns: Turns, rank: int) -> None:
        self.turns, self.rank = turns, rank

    def sum(self, x: torch.Tensor) -> torch.Tensor:
        return self.turns.exchange(self.rank, x).sum(0)

    def shares(self, like: torch.Tensor, index: int) -> None:
        return None

    def gather(self, x: torch.Tensor) -> torch.Tensor:
        return self.turns.exchange(self.rank, x)


def follow(runner: Runner, channel: Channel) -> None:
    follower = Follower(runner, LIMITS.vocab_size)
    try:
        while True:
            follower.take(channel.receive(Step))
    except ConnectionError:
        channel.close()


@pytest.mark.parametrize(("pages", "requests", "preempted"), [(16, VARIED, 0), (5, CROWDED, 1)])
def test_two_ranks_choose_the_tokens_of_one(
    pages: int, requests: list[tuple[int, Sampling]], preempted: int, tmp_path: Path
) -> None:
    expected, _ = answer(ReferenceRunner(build_model("llama", tmp_path), 16, PAGE_SIZE), 16, requests, follow_table)
    turns, config = Turns(), read_model_config(tmp_path)
    shards = [
        load_model(
            tmp_path,
            divide(config, Shard(rank, 2)),
            torch.device("cpu"),
            torch.float32,
            group=TurnGroup(turns, rank),
        )
        for rank in range(2)
    ]
    own, other = (GuardedRunner(GpuRunner(shard, LIMITS, pages, PAGE_SIZE), lambda: turns.turn) for shard in shards)
    ours, theirs = (Channel(end) for end in socket.socketpair())
    follower = threading.Thread(target=follow, args=(other, theirs))
    follower.start()
    found, some = answer(ParallelRunner(own, [ours], LIMITS.max_num_seqs), pages, requests, follow_table)
    ours.close()
    follower.join()
    assert some == preempted
    assert tokens_of(found) == tokens_of(expected)
