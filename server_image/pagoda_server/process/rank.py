"""A follower: the process of a further rank, which launches what the leading rank launches and drops the results.

It chooses the same tokens by itself: logits are gathered on all ranks, and noise has no state.
"""

import logging
import signal
import socket

import torch.distributed as dist

from pagoda_server.model.shard import Shard
from pagoda_server.parallel.channel import Channel, end_at_once, watch
from pagoda_server.parallel.follower import Follower
from pagoda_server.parallel.messages import Begin, Join, Loaded, Step
from pagoda_server.start.build import LoadedRank, load_rank
from pagoda_server.start.phases import Phases
from pagoda_server.start.sizes import build_limits

log = logging.getLogger(__name__)


def run_follower(descriptor: int) -> None:
    """Follows the leader until a step fails; the leader's end ends this process at once, wherever it is."""
    channel = Channel(socket.socket(fileno=descriptor))
    watch({0: channel}, lambda _: end_with_leader())
    try:
        follow(channel)
    except ConnectionError:
        end_with_leader()
    except Exception:
        log.critical("rank cannot continue", exc_info=True)
        end_at_once(1)


def follow(channel: Channel) -> None:
    """Loads this rank's part of the model, then launches what the leader launches, step by step."""
    join, phases = channel.receive(Join), Phases()
    loaded = load(join, channel, phases)
    begin = channel.receive(Begin)
    limits = build_limits(join.config, loaded.model.config, begin.max_model_len)
    follower = Follower(loaded.build_runner(join.config, limits, begin.num_pages, phases), limits.vocab_size)
    log.info("rank ready rank=%d", join.rank)
    while True:
        follower.take(channel.receive(Step))


def load(join: Join, channel: Channel, phases: Phases) -> LoadedRank:
    """Returns the loaded part and tells the leader how it went, which ends this process if it went wrong."""
    try:
        loaded = load_rank(join.config, Shard(join.rank, join.config.tensor_parallel), join.store, phases)
    except Exception as error:
        log.exception("rank cannot load rank=%d", join.rank)
        if not dist.is_initialized():
            raise  # the leader waits for this rank to meet it, and hears of nothing but its end
        channel.send(Loaded(error=str(error)))
        while True:
            signal.pause()
    channel.send(Loaded(num_pages=loaded.num_pages))
    return loaded


def end_with_leader() -> None:
    log.info("the leading rank ended, and this one with it")
    end_at_once(0)
