"""How far a start is, from what the server logs of its phases: which it is in, what the ended ones took, and in all."""

import re
import time
from collections.abc import Callable

BEGINS = re.compile(r"start phase begins phase=(\w+)")
ENDED = re.compile(r"start phase ended phase=(\w+) seconds=([0-9.]+)")
LOAD_CODE = "load code"
"""The first phase, of which the server tells when it is over."""
SHOWN_FROM_SECONDS = 0.1
"""What took less is not worth a line."""


class Starting:
    """The start of one version; of several replicas the first tells."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._begin = self._phase_begin = clock()
        self._phase = LOAD_CODE

    @property
    def seconds(self) -> float:
        return self._clock() - self._begin

    def describe(self) -> str:
        """Returns the phase it is in, and for how long."""
        return f"{self._phase}, {self._clock() - self._phase_begin:.0f} s"

    def read(self, line: str) -> str | None:
        """Takes a line of the server's log; returns what is worth a line here, if anything is."""
        if begins := BEGINS.search(line):
            self._enter(begins[1].replace("_", " "))
        ended = ENDED.search(line)
        if ended is None:
            return None
        phase, seconds = ended[1].replace("_", " "), float(ended[2])
        self._enter("open the endpoint" if phase == "total" else "build")
        return f"{phase} {seconds:.1f} s" if phase != "total" and seconds >= SHOWN_FROM_SECONDS else None

    def begin(self) -> None:
        """The server's process begins; before it the model was fetched."""
        self._enter(LOAD_CODE)

    def _enter(self, phase: str) -> None:
        self._phase, self._phase_begin = phase, self._clock()
