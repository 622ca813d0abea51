"""The id by which client, gateway, server and logs speak of one request: the client's own where it is well formed."""

import re
import secrets

REQUEST_ID_HEADER = "X-Request-Id"
WELL_FORMED = re.compile(r"[\x21-\x7e]{1,128}")


def choose_request_id(wish: str | None) -> str:
    """Returns the id that was wished for, or one that is made here."""
    return wish if wish is not None and WELL_FORMED.fullmatch(wish) else f"req_{secrets.token_hex(12)}"
