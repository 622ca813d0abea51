"""What the relay tells of a request to whoever traces it.

Most requests are traced by nobody: for them all of this does nothing, and OpenTelemetry is not even imported where
tracing is off.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

Headers = Sequence[tuple[str, str]]
NOTHING: AbstractContextManager[None] = nullcontext()
NO_HEADERS: AbstractContextManager[Headers] = nullcontext(())


class Trace:
    """A request that nobody traces."""

    exemplar: dict[str, str] | None = None
    """What a histogram notes beside this request's value."""

    def note_tenant(self, tenant: str) -> None:
        """Notes who asks."""

    def wait(self) -> AbstractContextManager[None]:
        """Encloses the wait for a turn."""
        return NOTHING

    def call(self) -> AbstractContextManager[Headers]:
        """Encloses the server's work; gives the headers that tell the server about it."""
        return NO_HEADERS

    def note_attempt(self, error: Exception) -> None:
        """Notes that the server could not be reached, or broke off before it answered."""

    def note_head(self, status: int) -> None:
        """Notes that the server's answer begins."""

    def note_first_byte(self) -> None:
        """Notes that the answer's body begins."""

    def fail(self, code: str, status: int = 500) -> None:
        """Notes that the answer is an error of the gateway's own, or not whole; `status` 4xx: the client's fault."""

    def end(self, status: int) -> None:
        """Notes that all is over, with the status that was counted."""


UNTRACED = Trace()
