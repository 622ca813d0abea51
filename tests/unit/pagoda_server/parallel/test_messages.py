"""A follower that is steps only what is new has the same chunks as the leader."""

import socket
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from pagoda_server.engine.batch import Chunk
from pagoda_server.engine.config import EngineConfig
from pagoda_server.engine.request import Request, RequestState
from pagoda_server.engine.runner import PendingStep
from pagoda_server.parallel.channel import Channel, encode
from pagoda_server.parallel.follower import Follower
from pagoda_server.parallel.leader import ParallelRunner
from pagoda_server.parallel.messages import Join, Step, StepDecoder, StepEncoder
from pagoda_server.wire import Sampling

SAMPLING = Sampling(
    max_tokens=9,
    temperature=0.7,
    top_k=5,
    presence_penalty=0.5,
    logprobs=3,
    min_tokens=2,
    logit_bias=((4, 1.5),),
    allowed_token_ids=(4, 5),
    bad_words=((4, 5),),
)


def build_request(row: int = 1) -> Request:
    return Request(
        request_id="a",
        token_ids=[3, 4, 5, 6],
        num_prompt_tokens=4,
        sampling=SAMPLING,
        seed=2**61,
        stop_token_ids=frozenset({7, 8}),
        state=RequestState.RUNNING,
        row=row,
        is_constrained=True,
        num_admissions=1,
        page_ids=[10],
    )


class EncodedSteps:
    """Both ends."""

    def __init__(self) -> None:
        self.encoder, self.decoder = StepEncoder(4), StepDecoder()

    def send(self, *chunks: Chunk) -> tuple[Step, list[Chunk]]:
        step = self.encoder.encode(chunks)
        return step, self.decoder.decode(step)


def test_a_follower_has_all_that_a_runner_reads() -> None:
    request = build_request()
    _, (chunk,) = EncodedSteps().send(Chunk(request, 0, 4, is_sampled=True))
    found = chunk.request
    assert (chunk.start, chunk.num_tokens, chunk.is_sampled) == (0, 4, True)
    assert (found.row, found.token_ids, found.page_ids, found.num_prompt_tokens) == (1, [3, 4, 5, 6], [10], 4)
    assert (found.seed, found.stop_token_ids) == (request.seed, request.stop_token_ids)
    assert (found.sampling.top_k, found.sampling.min_tokens, found.sampling.presence_penalty) == (5, 2, 0.5)
    assert (found.sampling.logit_bias, found.sampling.bad_words) == (((4, 1.5),), ((4, 5),))
    assert found.sampling.allowed_token_ids == (4, 5) and found.is_constrained and found.constraint is None
    assert found.sampling.logprobs is None, "only the leader gives them out"


def test_a_step_carries_only_what_is_new() -> None:
    steps, request = EncodedSteps(), build_request()
    _, (first,) = steps.send(Chunk(request, 0, 4, is_sampled=True))
    request.num_in_flight = 1
    ahead, (second,) = steps.send(Chunk(request, 4, 1, is_sampled=True))
    assert (ahead.chunks[0].token_ids, ahead.chunks[0].page_ids, ahead.chunks[0].new_request) == ([], [], None)
    assert second.request is first.request and second.request.num_tokens == 5
    request.token_ids.append(20)
    request.page_ids.append(11)
    step, _ = steps.send(Chunk(request, 5, 1, is_sampled=True))
    assert (step.chunks[0].token_ids, step.chunks[0].page_ids) == ([20], [11])
    assert (first.request.token_ids, first.request.page_ids) == (request.token_ids, request.page_ids)


def test_a_request_that_comes_back_after_preemption_is_another_to_the_follower() -> None:
    steps, request = EncodedSteps(), build_request()
    _, (before,) = steps.send(Chunk(request, 0, 4, is_sampled=True))
    request.num_admissions, request.page_ids = 2, [12, 13]
    request.token_ids.append(20)
    _, (after,) = steps.send(Chunk(request, 0, 5, is_sampled=True))
    assert after.request is not before.request
    assert (after.request.token_ids, after.request.page_ids) == ([3, 4, 5, 6, 20], [12, 13])


def test_a_row_forgets_the_request_before() -> None:
    steps = EncodedSteps()
    steps.send(Chunk(build_request(), 0, 4, is_sampled=True))
    _, (chunk,) = steps.send(Chunk(build_request(), 0, 2, is_sampled=False))
    assert chunk.request.token_ids == [3, 4, 5, 6]


def test_messages_pass_a_socket_and_its_end_is_an_error() -> None:
    import socket

    ours, theirs = (Channel(end) for end in socket.socketpair())
    config = EngineConfig(model=Path("/models"), socket=Path("/run/e.sock"), max_model_len=77, tensor_parallel=2)
    ours.send(Join(config, 1, Path("/tmp/store")))
    assert theirs.receive(Join).config == config
    step = StepEncoder(4).encode([Chunk(build_request(), 0, 4, is_sampled=True)])
    ours.send_frame(encode(step))
    assert theirs.receive(Step, timeout_seconds=5) == step
    with pytest.raises(TimeoutError):
        theirs.receive(Step, timeout_seconds=0.01)
    ours.close()
    with pytest.raises(ConnectionError):
        theirs.receive(Step)
    theirs.close()


class TakingRunner:
    """What a follower's runner is asked for."""

    def __init__(self) -> None:
        self.asked: list[object] = []

    def launch(self, chunks: Sequence[Chunk]) -> PendingStep:
        self.asked.append([chunk.num_tokens for chunk in chunks])
        return PendingStep(list, constrain=lambda masks: self.asked.append(masks.tolist()))

    def prepare_next(self, *, idle: bool = True) -> bool:
        self.asked.append(idle)
        return False


def test_a_follower_does_what_the_leader_does_in_its_order() -> None:
    leaders, followers = TakingRunner(), TakingRunner()
    own, other = (Channel(end) for end in socket.socketpair())
    runner, follower = ParallelRunner(leaders, [own], num_rows=4), Follower(followers, vocab_size=40)
    masks = np.array([[5, -1], [-(2**31), 0]], np.int32)
    pending = runner.launch([Chunk(build_request(), 0, 4, is_sampled=True)])
    assert pending.constrain is not None
    pending.constrain(masks)
    runner.prepare_next(idle=False)
    for _ in range(3):
        follower.take(other.receive(Step))
    assert followers.asked == leaders.asked == [[4], masks.tolist(), False]
    own.close()
    other.close()
