"""A follower's side of a step: it launches what the leader launches, and has it choose by the masks that follow."""

import numpy as np

from pagoda_server.engine.runner import PendingStep, Runner
from pagoda_server.parallel.messages import Step, StepDecoder


class Follower:
    """The results of its runner are dropped: it chooses the leader's tokens, and nobody asks it for them."""

    def __init__(self, runner: Runner, vocab_size: int) -> None:
        self._runner, self._decoder = runner, StepDecoder()
        self._num_words = -(-vocab_size // 32)
        self._pending: PendingStep | None = None

    def take(self, step: Step) -> None:
        """Does what the leader does. Raises what the runner raises."""
        if step.masks is not None:
            self._constrain(step.masks)
        elif step.chunks:
            self._pending = self._runner.launch(self._decoder.decode(step))
        else:
            self._runner.prepare_next(idle=step.idle)

    def _constrain(self, masks: bytes) -> None:
        assert self._pending is not None and self._pending.constrain is not None, "masks came for a step without any"
        self._pending.constrain(np.frombuffer(masks, np.int32).reshape(-1, self._num_words))
