"""The leading rank's side: it starts the followers, agrees with them on sizes, and tells them each step.

The leader is the engine's own process: it alone has scheduler and sockets. Ranks that are apart by one step would wait
for each other for ever, so whatever goes wrong on one of them ends them all.
"""

import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from pagoda_guard.flags import build_arguments
from pagoda_server.engine.batch import Chunk
from pagoda_server.engine.config import EngineConfig
from pagoda_server.engine.constraint import Masks
from pagoda_server.engine.runner import PendingStep, Runner, RunnerBroken, Sampled
from pagoda_server.parallel.channel import Channel, encode, end_at_once, watch
from pagoda_server.parallel.messages import Begin, Join, Loaded, Step, StepEncoder
from pagoda_server.settings import ChildSettings, RankSettings

log = logging.getLogger(__name__)
LOAD_SECONDS = 900.0
"""How much longer than the leader a follower may take to load its part of the model."""
END_SECONDS = 10.0


class Followers:
    """Ranks 1 to N - 1, each a process on this machine. None of them when the model is on one rank."""

    def __init__(self, config: EngineConfig) -> None:
        self.store = config.socket.with_suffix(".ranks").absolute()
        """The file at which the ranks meet."""
        self.store.unlink(missing_ok=True)  # of an engine that was killed
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._channels: dict[int, Channel] = {}
        self._closing = False
        self._runner: ParallelRunner | None = None
        for rank in range(1, config.tensor_parallel):
            self._processes[rank], self._channels[rank] = start_follower()
            self._channels[rank].send(Join(config, rank, self.store))
        if self._channels:
            watch(self._channels, self._end_with)

    def agree_on_pages(self, own: int) -> int:
        """Returns the minimum of what the ranks have memory for. Raises RuntimeError with a follower's trouble."""
        counts = [own]
        for rank, channel in self._channels.items():
            loaded = channel.receive(Loaded, LOAD_SECONDS)
            if loaded.error is not None:
                raise RuntimeError(f"rank {rank} of {len(self._channels) + 1}: {loaded.error}")
            counts.append(loaded.num_pages)
        return min(counts)

    def begin(self, num_pages: int, max_model_len: int) -> None:
        """Has the followers build their runners, which waits for the leader to build its own."""
        for channel in self._channels.values():
            channel.send(Begin(num_pages, max_model_len))

    def wrap_runner(self, runner: Runner, num_rows: int) -> Runner:
        """Returns the runner of all ranks, `runner` being the leader's own."""
        if not self._channels:
            return runner
        self._runner = ParallelRunner(runner, list(self._channels.values()), num_rows)
        return self._runner

    def close(self) -> bool:
        """Ends them, lets go of the leader's own runner, and returns whether all were alive and at the same step."""
        self._closing = True
        for channel in self._channels.values():
            channel.close()
        lost = [rank for rank, process in self._processes.items() if end(process) != 0]
        for rank in lost:
            self._report(rank)
        runner, self._runner = self._runner, None
        return not lost and runner is not None and runner.close()

    def _end_with(self, rank: int) -> None:
        if not self._closing:
            end(self._processes[rank])
            self._report(rank)
            end_at_once(1)

    def _report(self, rank: int) -> None:
        process = self._processes[rank]
        log.critical(
            "a rank ended, and the engine with it rank=%d pid=%d code=%d", rank, process.pid, process.returncode
        )


def start_follower() -> tuple[subprocess.Popen[bytes], Channel]:
    own, given = socket.socketpair()
    with given:
        command = [sys.executable, "-m", "pagoda_server", "engine-rank"]
        command += build_arguments(RankSettings(descriptor=given.fileno()))
        command += build_arguments(ChildSettings(parent_pid=os.getpid()))
        process = subprocess.Popen(command, pass_fds=[given.fileno()], start_new_session=True)
    return process, Channel(own)


def end(process: subprocess.Popen[bytes]) -> int:
    """Waits for a process whose channel is closed, and returns its exit code: 0 where it ends with the leader.

    One that does not end is killed in the end. NB: only the code tells who was lost: a killed process's sockets close
    before anybody can wait for it.
    """
    try:
        return process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


class ParallelRunner:
    """Implements `engine.runner.Runner`: a step goes to the followers, then to the leader's own runner."""

    def __init__(self, runner: Runner, followers: Sequence[Channel], num_rows: int) -> None:
        self._runner = runner
        self._followers = followers
        self._encoder = StepEncoder(num_rows)
        self._is_broken = False
        self._num_unread = 0

    def launch(self, chunks: Sequence[Chunk]) -> PendingStep:
        with self._all_or_none():
            self._tell(self._encoder.encode(chunks))
            pending = self._runner.launch(chunks)
        self._num_unread += 1

        def wait_or_break() -> list[Sampled]:
            with self._all_or_none():
                sampled = pending.wait()
            self._num_unread -= 1
            return sampled

        return replace(pending, wait=wait_or_break, constrain=self._constrain_all(pending.constrain))

    def _constrain_all(self, constrain: Callable[[Masks], None] | None) -> Callable[[Masks], None] | None:
        """Returns what gives masks to all ranks, where the leader's own step takes any."""
        if constrain is None:
            return None

        def tell_and_constrain(masks: Masks) -> None:
            with self._all_or_none():
                self._tell(Step([], masks=masks.tobytes()))
                constrain(masks)

        return tell_and_constrain

    def prepare_next(self, *, idle: bool = True) -> bool:
        with self._all_or_none():
            self._tell(Step([], idle))
            return self._runner.prepare_next(idle=idle)

    def _tell(self, step: Step) -> None:
        frame = encode(step)
        for follower in self._followers:
            follower.send_frame(frame)

    def close(self) -> bool:
        """Lets go of the runner: no step comes after it. False when one failed, or may still be under way on a rank."""
        del self._runner
        return not self._is_broken and self._num_unread == 0

    @contextmanager
    def _all_or_none(self) -> Iterator[None]:
        """Raises `RunnerBroken` for any failure: what failed here may have been done elsewhere."""
        try:
            yield
        except Exception as error:
            self._is_broken = True
            raise RunnerBroken("the ranks are no longer at the same step") from error
