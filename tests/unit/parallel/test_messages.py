"""A follower that is told only what is new has the same chunks as the leader."""

from pathlib import Path

import pytest

from pagoda_server.engine.config import EngineConfig
from pagoda_server.engine.request import Request, RequestState
from pagoda_server.engine.scheduler import Chunk
from pagoda_server.parallel.channel import Channel, encode
from pagoda_server.parallel.messages import Join, Mirror, Outline, Step
from pagoda_server.wire import Sampling

SAMPLING = Sampling(max_tokens=9, temperature=0.7, top_k=5, presence_penalty=0.5, logprobs=3, min_tokens=2)


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
        num_admissions=1,
        page_ids=[10],
    )


class Told:
    """Both ends."""

    def __init__(self) -> None:
        self.outline, self.mirror = Outline(4), Mirror()

    def tell(self, *chunks: Chunk) -> tuple[Step, list[Chunk]]:
        step = self.outline.describe(chunks)
        return step, self.mirror.follow(step)


def test_a_follower_has_all_that_a_runner_reads() -> None:
    request = build_request()
    _, (chunk,) = Told().tell(Chunk(request, 0, 4, samples=True))
    found = chunk.request
    assert (chunk.start, chunk.num_tokens, chunk.samples) == (0, 4, True)
    assert (found.row, found.token_ids, found.page_ids, found.num_prompt_tokens) == (1, [3, 4, 5, 6], [10], 4)
    assert (found.seed, found.stop_token_ids) == (request.seed, request.stop_token_ids)
    assert (found.sampling.top_k, found.sampling.min_tokens, found.sampling.presence_penalty) == (5, 2, 0.5)
    assert found.sampling.logprobs is None, "only the leader gives them out"


def test_a_step_carries_only_what_is_new() -> None:
    told, request = Told(), build_request()
    _, (first,) = told.tell(Chunk(request, 0, 4, samples=True))
    request.num_in_flight = 1
    ahead, (second,) = told.tell(Chunk(request, 4, 1, samples=True))
    assert (ahead.parts[0].token_ids, ahead.parts[0].page_ids, ahead.parts[0].opening) == ([], [], None)
    assert second.request is first.request and second.request.num_tokens == 5
    request.token_ids.append(20)
    request.page_ids.append(11)
    step, _ = told.tell(Chunk(request, 5, 1, samples=True))
    assert (step.parts[0].token_ids, step.parts[0].page_ids) == ([20], [11])
    assert (first.request.token_ids, first.request.page_ids) == (request.token_ids, request.page_ids)


def test_a_request_that_comes_back_after_preemption_is_another_to_the_follower() -> None:
    told, request = Told(), build_request()
    _, (before,) = told.tell(Chunk(request, 0, 4, samples=True))
    request.num_admissions, request.page_ids = 2, [12, 13]
    request.token_ids.append(20)
    _, (after,) = told.tell(Chunk(request, 0, 5, samples=True))
    assert after.request is not before.request
    assert (after.request.token_ids, after.request.page_ids) == ([3, 4, 5, 6, 20], [12, 13])


def test_a_row_forgets_the_request_before() -> None:
    told = Told()
    told.tell(Chunk(build_request(), 0, 4, samples=True))
    _, (chunk,) = told.tell(Chunk(build_request(), 0, 2, samples=False))
    assert chunk.request.token_ids == [3, 4, 5, 6]


def test_messages_pass_a_socket_and_its_end_is_an_error() -> None:
    import socket

    ours, theirs = (Channel(end) for end in socket.socketpair())
    config = EngineConfig(model=Path("/models"), socket=Path("/run/e.sock"), max_model_len=77, tensor_parallel=2)
    ours.send(Join(config, 1, Path("/tmp/store")))
    assert theirs.receive(Join).config == config
    step = Outline(4).describe([Chunk(build_request(), 0, 4, samples=True)])
    ours.send_frame(encode(step))
    assert theirs.receive(Step, timeout_seconds=5) == step
    with pytest.raises(TimeoutError):
        theirs.receive(Step, timeout_seconds=0.01)
    ours.close()
    with pytest.raises(ConnectionError):
        theirs.receive(Step)
    theirs.close()
