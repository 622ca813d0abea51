"""Which cluster, which namespace, as whom: kubectl's flags, as they were given."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterFlags:
    """What was not given is None: then the kubeconfig says it."""

    kubeconfig: Path | None = None
    context: str | None = None
    cluster: str | None = None
    user: str | None = None
    namespace: str | None = None
    server: str | None = None
    token: str | None = None
    as_user: str | None = None
    as_groups: tuple[str, ...] = ()
    certificate_authority: Path | None = None
    insecure_skip_tls_verify: bool = False
    request_timeout_seconds: float = 15.0


def parse_timeout(text: str) -> float:
    """Returns the seconds of kubectl's --request-timeout: 5, 5s, 2m, 500ms; 0 is no limit, here an hour.

    Raises ValueError.
    """
    for suffix, factor in (("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("", 1.0)):
        number = text.removesuffix(suffix)
        if text.endswith(suffix) and number.replace(".", "", 1).isdecimal():
            return float(number) * factor or 3600.0
    raise ValueError(f"--request-timeout {text!r} is no time: give 5s, 2m or 500ms")
