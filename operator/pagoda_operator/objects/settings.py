"""What the builders need to know of the operator's own settings."""

from dataclasses import dataclass

from pagoda_operator.api.allowed import Allowed
from pagoda_operator.api.profile import Profiles


@dataclass(frozen=True, slots=True)
class IngressRules:
    """What an author of a ModelDeployment may have in an Ingress: the operator may write Ingresses, the author may not.

    By default nothing but what the operator writes by itself, and so no host at all.
    """

    host_suffixes: tuple[str, ...] = ()
    """A host is allowed when it is one of these or ends with "." and one of these; "*" allows every host."""
    annotations: tuple[str, ...] = ()
    """Whole keys of annotations."""


@dataclass(frozen=True, slots=True)
class TracingSettings:
    """Where models send their traces that do not say it themselves; an empty endpoint: nowhere."""

    endpoint: str = ""
    sampling_ratio: float = 0.01


@dataclass(frozen=True, slots=True)
class BuildSettings:
    control_image: str
    server_image: str
    image_pull_policy: str = "IfNotPresent"
    image_pull_secrets: tuple[str, ...] = ()
    ingress: IngressRules = IngressRules()
    profiles: Profiles = Profiles()
    allowed: Allowed = Allowed()
    tracing: TracingSettings = TracingSettings()
    models_size_limit: str = "500Gi"
    """The maximum disk space of a node that a model's files may take, where they are not kept in a claim."""
    user_id: int = 10001
    """The uid, gid and fsGroup of model pods; 0 leaves them to the platform."""
