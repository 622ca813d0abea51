"""Where traces are sent: an OTLP collector's address, as settings and the resource name it.

Nothing of OpenTelemetry is imported here: a program that traces nothing has no use for it.
"""

import re
from typing import Literal
from urllib.parse import urlsplit

_HOST = r"([A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9a-fA-F:.]+\])"
ENDPOINT_PATTERN = rf"^https?://{_HOST}(:[0-9]{{1,5}})?(/[A-Za-z0-9._~/-]*)?$"
TRACES_PATH = "/v1/traces"
DEFAULT_PORTS = {"http": 80, "https": 443}
Outcome = Literal["exported", "failed", "dropped"]
"""What became of a span. failed: the collector did not take it. dropped: too many were waiting."""


def parse_endpoint(text: str) -> str:
    """Returns the address of a collector, without a slash at its end; an empty one means none.

    Raises ValueError for what is none: it has neither user nor query.
    """
    if text and (not re.fullmatch(ENDPOINT_PATTERN, text) or not 0 < find_port(text) < 65536):
        raise ValueError(f"{text!r} is no collector: give http://HOST:PORT or https://HOST:PORT of its OTLP over HTTP")
    return text.rstrip("/")


def find_port(endpoint: str) -> int:
    """Returns the port of an address, 0 for one that no port can have."""
    address = urlsplit(endpoint)
    try:
        return DEFAULT_PORTS[address.scheme] if address.port is None else address.port
    except ValueError:
        return 0
