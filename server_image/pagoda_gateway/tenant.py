"""What every request is asked before anything is done for it: whose it is, and whether it comes too late."""

from collections.abc import Callable

from aiohttp import web

from pagoda_gateway.auth import KeyRing
from pagoda_gateway.errors import Refusal

KEYS_RETRY_SECONDS = 10


def admit_tenant(keys: KeyRing, request: web.BaseRequest, count_rejected: Callable[[str], None]) -> str:
    """Returns who asks. Raises Refusal for nobody's key, and for everybody while the keys cannot be read."""
    if not keys.readable:
        count_rejected("keys_unavailable")
        message = "API keys cannot be read at present: try again later."
        raise Refusal(503, "keys_unavailable", message, retry_after_seconds=KEYS_RETRY_SECONDS)
    tenant = keys.tenant_of(request.headers.get("Authorization"), request.headers.get("X-Api-Key"))
    if tenant is None:
        count_rejected("unauthorized")
        raise Refusal(
            401,
            "invalid_api_key",
            "Missing or wrong API key: send it as 'Authorization: Bearer KEY' or 'X-Api-Key: KEY'.",
            "authentication_error",
            headers={"WWW-Authenticate": "Bearer"},
        )
    return tenant


def refuse_after_drain(count_rejected: Callable[[str], None]) -> Refusal:
    count_rejected("draining")
    message = "This replica is going away: try again."
    return Refusal(503, "draining", message, retry_after_seconds=1, close=True)
