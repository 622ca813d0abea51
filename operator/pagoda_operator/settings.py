"""Settings of the operator: built once in `__main__` from flags and environment; nothing else reads the environment.

A bad value stops the process and names the setting, the value and what is accepted.
"""

import argparse
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from pagoda_operator.kube.quantity import parse_bytes

PULL_POLICIES = ("Always", "IfNotPresent", "Never")


class SettingError(Exception):
    """A setting has a value the operator cannot run with."""


@dataclass(frozen=True, slots=True)
class Settings:
    control_image: str = "pagoda:latest"
    """Image with the fetcher and the gateway."""
    server_image: str = "pagoda-server:latest"
    """Image with the engine."""
    image_pull_policy: str = "IfNotPresent"
    image_pull_secrets: tuple[str, ...] = ()
    """Secrets for a private registry that model pods name; each namespace with models must have them."""
    namespace: str = "pagoda-system"
    """Where the operator itself lives: its Lease, certificate Secret and Service."""
    ingress_hosts: tuple[str, ...] = ()
    """Suffixes of the hosts that ModelDeployments may ask an Ingress for; "*" allows all, and empty none."""
    ingress_annotations: tuple[str, ...] = ()
    """Keys of the annotations that ModelDeployments may add to their Ingress."""
    models_size_limit: str = "500Gi"
    """Disk of a node that a pod may fill with a model's files, where they are not in a claim."""
    watch_namespaces: tuple[str, ...] = ()
    """Namespaces whose ModelDeployments are served; empty means all."""
    workers: int = 4
    """Reconciles that run at once."""
    metrics_port: int = 8080
    health_port: int = 8081
    metrics_api_port: int = 6443
    """Port of the custom.metrics.k8s.io server; 0 turns it off."""
    metrics_service: str = "pagoda-operator"
    """Service in front of that server, which the APIService points at."""
    cluster_role: str = ""
    """ClusterRole that the APIServices go with when the chart is uninstalled; empty: they belong to nobody."""
    gateway_port: int = 8000
    """Port of a model pod's gateway, where /load is read."""
    lease_name: str = "pagoda-operator"
    identity: str = ""
    """Name of this replica; default the host's name."""
    request_timeout_seconds: float = 15.0
    resync_seconds: float = 120.0
    """How often the watched state is compared with a fresh list."""
    log_level: str = "info"


HELP = {
    "control_image": "image with the fetcher and the gateway",
    "server_image": "image with the engine",
    "image_pull_policy": "pull policy of both: " + ", ".join(PULL_POLICIES),
    "image_pull_secrets": "comma-separated Secrets that model pods pull with; each namespace of a model must have them",
    "namespace": "the operator's own namespace",
    "ingress_hosts": "comma-separated host suffixes that an Ingress may be asked for; * allows all, empty none",
    "ingress_annotations": "comma-separated keys of annotations that an Ingress may be given",
    "models_size_limit": "disk of a node that a pod may fill with a model's files, as a quantity",
    "watch_namespaces": "comma-separated namespaces to serve; empty means all",
    "workers": "reconciles that run at once",
    "metrics_port": "Prometheus metrics",
    "health_port": "/healthz and /readyz",
    "metrics_api_port": "custom.metrics.k8s.io over TLS; 0 turns it off",
    "metrics_service": "Service in front of custom.metrics.k8s.io",
    "cluster_role": "ClusterRole that owns the APIServices of the metrics API",
    "gateway_port": "port of a model pod's gateway",
    "lease_name": "Lease that elects the leader",
    "identity": "name of this replica; default the host's name",
    "request_timeout_seconds": "limit of one call to the API server",
    "resync_seconds": "period of the full comparison with the cluster",
    "log_level": "debug, info, warning or error",
}


def build_settings(argv: Sequence[str], environ: Mapping[str, str]) -> Settings:
    """Flags win over PAGODA_* variables, variables over defaults."""
    parser = argparse.ArgumentParser(prog="pagoda operator", description="Runs ModelDeployments on this cluster.")
    for field in fields(Settings):
        env_name = "PAGODA_" + field.name.upper()
        help_text = f"{HELP[field.name]} [{env_name}; default {field.default!r}]"
        parser.add_argument("--" + field.name.replace("_", "-"), default=environ.get(env_name), help=help_text)
    given = {name: text for name, text in vars(parser.parse_args(argv)).items() if text is not None}
    defaults = Settings()
    values = {name: _parse(name, text, getattr(defaults, name)) for name, text in given.items()}
    values.setdefault("identity", environ.get("POD_NAME") or f"{socket.gethostname()}-{os.getpid()}")
    return _checked(Settings(**values))


def _parse(name: str, text: str, default: object) -> Any:
    try:
        if isinstance(default, tuple):
            return tuple(part.strip() for part in text.split(",") if part.strip())
        if isinstance(default, int | float):
            return type(default)(text)
    except ValueError:
        raise SettingError(f"{name}={text!r} is not {type(default).__name__}: {HELP[name]}") from None
    return text


def _checked(settings: Settings) -> Settings:
    if settings.image_pull_policy not in PULL_POLICIES:
        accepted = ", ".join(PULL_POLICIES)
        raise SettingError(f"image_pull_policy={settings.image_pull_policy!r} must be one of {accepted}")
    if settings.log_level not in ("debug", "info", "warning", "error"):
        raise SettingError(f"log_level={settings.log_level!r} must be debug, info, warning or error")
    if not 1 <= settings.workers <= 64:
        raise SettingError(f"workers={settings.workers} must be between 1 and 64")
    for name in ("metrics_port", "health_port", "metrics_api_port", "gateway_port"):
        if not 0 <= getattr(settings, name) <= 65535:
            raise SettingError(f"{name}={getattr(settings, name)} must be between 0 and 65535")
    for name in ("namespace", "lease_name", "control_image", "server_image"):
        if not getattr(settings, name):
            raise SettingError(f"{name} is empty: {HELP[name]}")
    try:
        parse_bytes(settings.models_size_limit)
    except ValueError as error:
        raise SettingError(f"models_size_limit={error}") from None
    for name in ("request_timeout_seconds", "resync_seconds"):
        if not getattr(settings, name) > 0:
            raise SettingError(f"{name}={getattr(settings, name)} must be above zero")
    return settings
