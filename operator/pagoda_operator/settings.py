"""Settings of the operator: built once in `__main__` from flags and environment; nothing else reads the environment.

A bad value stops the process and names the setting, the value and what is accepted.
"""

import argparse
import json
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pagoda_guard.collector import parse_endpoint
from pagoda_guard.flags import add_flags, read_settings
from pagoda_guard.settings import Setting, check
from pagoda_operator.api.profile import read_allowed, read_profile, read_profiles
from pagoda_operator.kube.quantity import parse_bytes

Names = tuple[str, ...]
PullPolicy = Literal["Always", "IfNotPresent", "Never"]
LogLevel = Literal["debug", "info", "warning", "error"]


def parse_size(text: str) -> str:
    """Returns `text`, which is a size as Kubernetes writes them. Raises ValueError when it is none."""
    parse_bytes(text)
    return text


def parse_json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"{text[:100]!r} is not JSON ({error}): give a JSON object") from error


def parse_defaults(text: str) -> str:
    """Returns `text`, which is the fields of a profile. Raises ValueError when it is not."""
    read_profile("models.defaults", parse_json(text))
    return text


def parse_profiles(text: str) -> str:
    """Returns `text`, which is profiles by name. Raises ValueError when it is not."""
    read_profiles(parse_json(text))
    return text


def parse_allowed(text: str) -> str:
    """Returns `text`, which is what authors may have. Raises ValueError when it is not."""
    read_allowed(parse_json(text))
    return text


@dataclass(frozen=True, slots=True)
class Settings:
    control_image: Annotated[str, Setting("the image of fetcher and gateway", is_filled=True)] = "pagoda:latest"
    server_image: Annotated[str, Setting("the image of the server", is_filled=True)] = "pagoda-server:latest"
    image_pull_policy: Annotated[PullPolicy, Setting("the pull policy of both images")] = "IfNotPresent"
    image_pull_secrets: Annotated[
        Names, Setting("Secrets that model pods pull with; each namespace with models must have them")
    ] = ()
    namespace: Annotated[
        str, Setting("the operator's own namespace, of its Lease, certificate Secret and Service", is_filled=True)
    ] = "pagoda-system"
    ingress_hosts: Annotated[
        Names, Setting("suffixes of the hosts that an Ingress may be asked for; * allows all, empty none")
    ] = ()
    ingress_annotations: Annotated[Names, Setting("keys of the annotations that an Ingress may be given")] = ()
    models_size_limit: Annotated[
        str, Setting("disk of a node that a model's files may fill, where they are not in a claim", parse=parse_size)
    ] = "500Gi"
    user_id: Annotated[
        int, Setting("uid and gid of model pods; 0 leaves them to the platform, as OpenShift wants", minimum=0)
    ] = 10001
    model_defaults: Annotated[
        str, Setting("fields that every ModelDeployment has, as JSON of a profile", parse=parse_defaults)
    ] = "{}"
    profiles: Annotated[
        str, Setting("profiles that a ModelDeployment may name, as JSON by name", parse=parse_profiles)
    ] = "{}"
    allowed: Annotated[
        str, Setting("what authors of ModelDeployments may have, as JSON of models.allowed", parse=parse_allowed)
    ] = "{}"
    tracing_endpoint: Annotated[
        str, Setting("http://HOST:PORT of the collector for models that name none; empty: none", parse=parse_endpoint)
    ] = ""
    tracing_sampling_ratio: Annotated[
        float, Setting("the share of requests that are traced, for models that name none", minimum=0, maximum=1)
    ] = 0.01
    watch_namespaces: Annotated[Names, Setting("namespaces whose ModelDeployments are served; empty means all")] = ()
    workers: Annotated[int, Setting("reconciles that run at once", minimum=1, maximum=64)] = 4
    metrics_port: Annotated[int, Setting("port of the Prometheus metrics", minimum=0, maximum=65535)] = 8080
    health_port: Annotated[int, Setting("port of /healthz and /readyz", minimum=0, maximum=65535)] = 8081
    metrics_api_port: Annotated[
        int, Setting("port of custom.metrics.k8s.io over TLS; 0 turns it off", minimum=0, maximum=65535)
    ] = 6443
    metrics_service: Annotated[
        str, Setting("the Service in front of custom.metrics.k8s.io, which its APIServices point at")
    ] = "pagoda-operator"
    cluster_role: Annotated[
        str, Setting("the ClusterRole with which the APIServices go when the chart is uninstalled; empty: they stay")
    ] = ""
    gateway_port: Annotated[
        int, Setting("port of a model pod's gateway, where /load is read", minimum=0, maximum=65535)
    ] = 8000
    lease_name: Annotated[str, Setting("the Lease that elects the leader", is_filled=True)] = "pagoda-operator"
    identity: Annotated[str, Setting("the name of this replica; by default POD_NAME, else host and process")] = ""
    request_timeout_seconds: Annotated[float, Setting("the limit of one call to the API server", above=0)] = 15.0
    resync_seconds: Annotated[
        float, Setting("the time between two comparisons of what is watched with a fresh list", above=0)
    ] = 120.0
    log_level: Annotated[LogLevel, Setting("the lowest level that is logged")] = "info"

    def __post_init__(self) -> None:
        check(self)

    def serves(self, namespace: str | None) -> bool:
        """Returns whether objects there are looked at. NB: our own namespace is always watched, for the Lease."""
        return not self.watch_namespaces or namespace is None or namespace in self.watch_namespaces


def build_parser(environ: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pagoda operator", description="Runs ModelDeployments on this cluster.")
    add_flags(parser, Settings, environ=environ)
    return parser


def build_settings(argv: Sequence[str], environ: Mapping[str, str]) -> Settings:
    """Returns what flags say, then PAGODA_* variables, then the defaults. Raises SettingError."""
    flags = build_parser(environ).parse_args(argv)
    if flags.identity is None:
        flags.identity = environ.get("POD_NAME") or f"{socket.gethostname()}-{os.getpid()}"
    return read_settings(Settings, flags)
