"""Every setting of the gateway in one frozen value, so that nothing else reads flags or the environment.

Only `__main__` builds one. A bad value stops the process with its name.
"""

import re
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Annotated

from pagoda_guard.collector import parse_endpoint
from pagoda_guard.origins import parse_origins
from pagoda_guard.settings import Setting, check

STORE_URI = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,62}(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*/?")


@dataclass(frozen=True, slots=True)
class Address:
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Address":
        host, colon, port = text.rpartition(":")
        if not (host and colon and port.isdecimal() and int(port) < 65536):
            raise ValueError(f"{text!r} is not HOST:PORT")
        return cls(host=host.strip("[]"), port=int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class InheritedSocket:
    """A listening socket that the parent process opened and gave to this one, and to other gateways too."""

    fd: int

    def __str__(self) -> str:
        return f"fd://{self.fd}"


def parse_listen(text: str) -> Address | InheritedSocket:
    scheme, separator, fd = text.partition("://")
    if not separator:
        return Address.parse(text)
    if scheme != "fd" or not fd.isdecimal():
        raise ValueError(f"{text!r} is neither HOST:PORT nor fd://NUMBER")
    return InheritedSocket(int(fd))


def parse_hosts(text: str) -> frozenset[str]:
    """Names without ports, with commas between them."""
    return frozenset(name.strip().lower() for name in text.split(",")) - {""}


def parse_store(text: str) -> str:
    """Refuses what is neither an absolute folder nor a bucket."""
    if text and not text.startswith("/") and not STORE_URI.fullmatch(text):
        raise ValueError(f"{text!r} is neither /FOLDER nor s3://BUCKET/FOLDER")
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    listen: Annotated[
        Address | InheritedSocket,
        Setting("the public HOST:PORT, or fd://N: a listening socket that gateways share", parse=parse_listen),
    ] = Address("0.0.0.0", 8000)
    """From an inherited socket this gateway accepts only while it can serve."""
    admin: Annotated[Address, Setting("the HOST:PORT for this pod alone, where POST /drain is taken")] = Address(
        "127.0.0.1", 8001
    )
    upstream: Annotated[Path, Setting("the model server's unix socket")]
    model_name: Annotated[str, Setting("the name that requests put in `model`")]
    namespace: Annotated[str, Setting("label of the metrics: the ModelDeployment's namespace")]
    model_deployment: Annotated[str, Setting("label of the metrics: the ModelDeployment's name")]
    max_queued: Annotated[int, Setting("sequences that may wait; a request is its prompts x n", minimum=0)]
    max_queued_tokens: Annotated[int, Setting("estimated tokens that may wait", minimum=0)]
    max_wait_seconds: Annotated[float, Setting("the longest wait, which ends with a 503", above=0, below=inf)]
    backlog_drain_seconds: Annotated[float, Setting("demand = served + backlog / this", above=0, below=inf)]
    api_keys_dir: Annotated[
        Path | None, Setting("a folder of one key per file, whose name is the tenant; without it no key is asked")
    ] = None
    """While it is empty, or cannot be read any more, everyone is refused."""
    max_body_bytes: Annotated[int, Setting("the longest body of a request", minimum=1)] = 4 * 1024 * 1024
    max_body_bytes_total: Annotated[
        int, Setting("bodies in memory, of all requests together that are being read or wait", minimum=1)
    ] = 64 * 1024 * 1024
    body_seconds: Annotated[
        float, Setting("how long a client may take to send a body; longer if it sends steadily", above=0, below=inf)
    ] = 60.0
    header_seconds: Annotated[
        float, Setting("how long a request's head may take, from when it or the connection began", above=0, below=inf)
    ] = 30.0
    idle_seconds: Annotated[
        float, Setting("how long a connection is kept without a request; nginx keeps its own 60 s", above=0, below=inf)
    ] = 75.0
    stalled_seconds: Annotated[
        float, Setting("how long a client may take no byte of its answer while there are some", above=0, below=inf)
    ] = 60.0
    max_connections: Annotated[
        int, Setting("clients' connections; 0: 16,384, or half of the files that may be open if less", minimum=0)
    ] = 0
    allowed_hosts: Annotated[
        frozenset[str] | None,
        Setting("names that Host and Origin may have, beside this machine's own; without it any", parse=parse_hosts),
    ] = None
    cors_allowed_origins: Annotated[
        frozenset[str],
        Setting("origins (https://HOST[:PORT], or * for any) whose web pages may read answers", parse=parse_origins),
    ] = frozenset()
    """None by default: browsers hide the answers from pages of other sites."""
    chat_page: Annotated[bool, Setting("serve a page to chat with the model at /")] = False
    """It is served without a key; what it asks needs one as ever."""
    kept_responses: Annotated[
        int, Setting("answers of /v1/responses in memory, for previous_response_id; 0: none are kept", minimum=0)
    ] = 1024
    kept_responses_bytes: Annotated[int, Setting("what they may have together", minimum=1)] = 64 * 1024 * 1024
    kept_responses_seconds: Annotated[
        float, Setting("how long one is kept after it was used last", above=0, below=inf)
    ] = 3600.0
    max_running: Annotated[int, Setting("sequences at the server; 0: its own max_num_seqs", minimum=0)] = 0
    ping_seconds: Annotated[float, Setting("the time between comments to a waiting stream", above=0, below=inf)] = 15.0
    drain_grace_seconds: Annotated[
        float, Setting("the shortest drain: other nodes learn late of an unready endpoint", minimum=0)
    ] = 8.0
    """New requests are taken until it ends."""
    tracing_endpoint: Annotated[
        str, Setting("http://HOST:PORT of a collector that takes OTLP; empty: nothing is traced", parse=parse_endpoint)
    ] = ""
    tracing_sampling_ratio: Annotated[float, Setting("the share of requests that are traced", minimum=0, maximum=1)] = (
        0.01
    )
    tracing_follow_parent: Annotated[
        bool, Setting("trace a request exactly when its caller traces it, where its traceparent says so")
    ] = False
    """NB: whoever can send requests then has as many of them traced as they like."""
    batch_store: Annotated[
        str, Setting("a folder, or s3://BUCKET/FOLDER, of files and batches; empty: there are none", parse=parse_store)
    ] = ""
    batch_s3_endpoint: Annotated[str, Setting("https://HOST of an S3 that is not AWS")] = ""
    batch_s3_region: Annotated[str, Setting("the region of the bucket")] = ""
    batch_max_file_bytes: Annotated[int, Setting("the largest file of a batch", minimum=1)] = 200 * 1024 * 1024
    batch_max_files: Annotated[int, Setting("files that a tenant may keep", minimum=1, maximum=10_000)] = 1000
    batch_max_total_bytes: Annotated[int, Setting("bytes of all files that a tenant may keep", minimum=1)] = (
        10 * 1024 * 1024 * 1024
    )
    batch_max_requests: Annotated[int, Setting("requests of a batch", minimum=1, maximum=1_000_000)] = 50_000
    batch_share: Annotated[
        float,
        Setting("the part of the server's sequences that batches may have beside live requests", above=0, below=1),
    ] = 0.25
    pod_name: Annotated[str, Setting("what traces call this pod")] = ""
    shared_drain_grace_seconds: float = 2.0
    """At most so long at a shared socket, which is left at once: for the connections that are still open."""
    poll_seconds: float = 1.0
    shared_poll_seconds: float = 0.2
    """Instead, at a shared socket: until it is seen that the server is gone, requests are taken and refused."""
    keys_poll_seconds: float = 3.0

    def __post_init__(self) -> None:
        check(self)
