"""Where traces are sent: an OTLP collector's address, as settings and the resource name it.

Nothing of OpenTelemetry is imported here: a program that traces nothing has no use for it.
"""

import re
from typing import Literal
from urllib.parse import urlsplit

_HOST = r"([A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9a-fA-F:.]+\])"
_PORT = r"([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
ENDPOINT_PATTERN = rf"^https?://{_HOST}(:{_PORT})?(/[A-Za-z0-9._~/-]*)?$"
"""Without a user and without a query: what is said here is shown to everyone who may read the resource."""
TRACES_PATH = "/v1/traces"
DEFAULT_PORTS = {"http": 80, "https": 443}
Outcome = Literal["exported", "failed", "dropped"]
"""What became of a span. failed: the collector did not take it. dropped: too many were waiting."""


def parse_endpoint(text: str) -> str:
    """Returns the address of a collector, without a slash at its end; an empty one means none.

    Raises ValueError for what is none.
    """
    if text and not re.fullmatch(ENDPOINT_PATTERN, text):
        raise ValueError(f"{text!r} is no collector: give http://HOST:PORT or https://HOST:PORT of its OTLP over HTTP")
    return text.rstrip("/")


def find_port(endpoint: str) -> int:
    address = urlsplit(endpoint)
    return address.port or DEFAULT_PORTS[address.scheme]
