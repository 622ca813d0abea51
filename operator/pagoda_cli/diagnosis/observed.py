"""What was seen of a model and of what serves it, frozen. Whoever reads the cluster fills it in; nobody changes it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pagoda_operator.kube.objects import Object


@dataclass(frozen=True, slots=True)
class PodLoad:
    """What a pod's gateway says of its load."""

    tokens_per_second: float
    queued: int
    queued_tokens: int
    running: int


@dataclass(frozen=True, slots=True)
class Observed:
    """A ModelDeployment and its children. `unread` says, a line each, what could not be read and why."""

    mdep: Object
    deployment: Object | None = None
    replica_sets: tuple[Object, ...] = ()
    pods: tuple[Object, ...] = ()
    hpa: Object | None = None
    ingress: Object | None = None
    service: Object | None = None
    events: tuple[Object, ...] = ()
    """Oldest first, of the model and of its children."""
    loads: Mapping[str, PodLoad] = field(default_factory=dict)
    """By pod; ready pods that did not answer are missing."""
    logs: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """The end of the log, by pod and container, of containers that failed."""
    missing_secrets: tuple[str, ...] = ()
    """Fields of the spec whose Secret does not exist."""
    refused_keys: int = 0
    """Requests that ready pods have refused with 401."""
    unread: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return str(self.mdep["metadata"]["name"])

    @property
    def namespace(self) -> str:
        return str(self.mdep["metadata"]["namespace"])

    @property
    def status(self) -> Mapping[str, Any]:
        return self.mdep.get("status") or {}


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all models need. None where it could not be read."""

    is_installed: bool = True
    """False where the cluster does not serve the resource."""
    unknown_fields: tuple[str, ...] = ()
    """Fields of the spec that this tool knows and the cluster's CRD does not."""
    lease: Object | None = None
    is_lease_read: bool = False
    operator_pods: tuple[Object, ...] | None = None
    operator_deployments: tuple[Object, ...] = ()
    """Empty also where they may not be read."""
    operator_version: str | None = None


def parse_time(text: object) -> datetime | None:
    """Returns a Kubernetes timestamp; None for what is none."""
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return None


def age_seconds(text: object, now: datetime) -> float | None:
    """Returns how long ago a timestamp was, never less than 0; None for what is none."""
    then = parse_time(text)
    return max(0.0, (now - then).total_seconds()) if then is not None and then.tzinfo is not None else None
