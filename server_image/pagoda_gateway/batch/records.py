"""A batch: what its maker asked for, which never changes, and how far it is, which its owner alone writes.

Both together are what OpenAI's API shows.
"""

from typing import Any, Literal

import msgspec

Status = Literal["validating", "in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled"]
ENDED: frozenset[Status] = frozenset({"completed", "failed", "expired", "cancelled"})


class Order(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    tenant: str
    endpoint: str
    input_file_id: str
    created_at: int
    expires_at: int
    metadata: dict[str, str] | None = None
    output_seconds: int
    """How long its output is kept."""


class LineError(msgspec.Struct, frozen=True, kw_only=True):
    code: str
    message: str
    line: int | None = None
    param: str | None = None


class Tokens(msgspec.Struct, frozen=True, array_like=True):
    """The tokens of one answer, or of many."""

    input: int = 0
    cached: int = 0
    output: int = 0
    reasoning: int = 0

    def __add__(self, other: "Tokens") -> "Tokens":
        return Tokens(
            self.input + other.input,
            self.cached + other.cached,
            self.output + other.output,
            self.reasoning + other.reasoning,
        )


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a batch is. Times are seconds of the clock on the wall."""

    status: Status = "validating"
    total: int = 0
    completed: int = 0
    failed: int = 0
    tokens: Tokens = Tokens()
    errors: tuple[LineError, ...] = ()
    in_progress_at: int | None = None
    finalizing_at: int | None = None
    completed_at: int | None = None
    failed_at: int | None = None
    expired_at: int | None = None
    cancelling_at: int | None = None
    cancelled_at: int | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None

    @property
    def has_ended(self) -> bool:
        return self.status in ENDED

    def counted(self, total: int, completed: int, failed: int, tokens: Tokens) -> "Progress":
        return msgspec.structs.replace(self, total=total, completed=completed, failed=failed, tokens=tokens)

    def at(self, status: Status, now: float, **changes: Any) -> "Progress":
        """Returns the next state, entered now."""
        stamp = {} if status == "validating" else {f"{status}_at": int(now)}
        return msgspec.structs.replace(self, status=status, **stamp, **changes)


def render_batch(order: Order, progress: Progress) -> dict[str, Any]:
    """Returns the batch as OpenAI's API shows it."""
    errors = [msgspec.structs.asdict(error) for error in progress.errors]
    stamps = ("in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled")
    return {
        "id": order.id,
        "object": "batch",
        "endpoint": order.endpoint,
        "errors": {"object": "list", "data": errors} if errors else None,
        "input_file_id": order.input_file_id,
        "completion_window": "24h",
        "status": progress.status,
        "output_file_id": progress.output_file_id,
        "error_file_id": progress.error_file_id,
        "created_at": order.created_at,
        "expires_at": order.expires_at,
        **{f"{stamp}_at": getattr(progress, f"{stamp}_at") for stamp in stamps},
        "request_counts": {"total": progress.total, "completed": progress.completed, "failed": progress.failed},
        "usage": render_usage(progress.tokens),
        "metadata": order.metadata,
    }


def render_usage(tokens: Tokens) -> dict[str, Any]:
    return {
        "input_tokens": tokens.input,
        "input_tokens_details": {"cached_tokens": tokens.cached},
        "output_tokens": tokens.output,
        "output_tokens_details": {"reasoning_tokens": tokens.reasoning},
        "total_tokens": tokens.input + tokens.output,
    }
