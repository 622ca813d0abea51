"""The bounds on what one tenant may keep and run, and how long things are kept."""

from dataclasses import dataclass

DAY_SECONDS = 86_400
WINDOW_SECONDS = DAY_SECONDS
"""The one completion window there is, "24h"."""
KEPT_SECONDS = 30 * DAY_SECONDS
"""How long files for batches are kept whose maker does not say, and batches that have ended."""
EXPIRY_SECONDS = (3600, KEPT_SECONDS)
"""What `expires_after` may say."""
ERRORS_LISTED = 100
"""Of the lines that are wrong, so many are told."""
ACTIVE_BATCHES = 100
"""A tenant's batches that are not at their end."""
UPLOADS = 8
"""At a time in one gateway; one tenant of several may have half of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    file_bytes: int
    files: int
    total_bytes: int
    """Of all files of a tenant, outputs included."""
