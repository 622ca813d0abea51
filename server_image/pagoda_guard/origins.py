"""Origins of web pages, as a browser names them: a scheme, a host, a port where it is not the scheme's own.

Nothing here imports more than the standard library: settings and the resource's fields are made of it.
"""

import re

ANY = "*"
ORIGIN_PATTERN = r"^(\*|https?://(\[[0-9a-f:.]{2,45}\]|[a-z0-9]([a-z0-9._-]{0,251}[a-z0-9])?)(:[1-9][0-9]{0,4})?)$"
"""In lower case, as browsers write them; `*` is any."""
_ORIGIN = re.compile(ORIGIN_PATTERN, re.ASCII)


def parse_origins(text: str) -> frozenset[str]:
    """Returns origins, apart by commas. Raises ValueError with the one that is none, and what is accepted."""
    origins = frozenset(origin.strip().lower() for origin in text.split(",")) - {""}
    for origin in sorted(origins):
        if not _ORIGIN.fullmatch(origin):
            raise ValueError(f"{origin!r} is no origin; give https://HOST[:PORT] without a path, or * for any")
    return origins
