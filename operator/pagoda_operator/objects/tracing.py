"""Where a model's traces go, by its spec and by the operator's settings, and the flags that say so."""

from pagoda_guard.collector import find_port
from pagoda_operator.api import ModelDeployment
from pagoda_operator.api.spec import Tracing
from pagoda_operator.kube.objects import Object
from pagoda_operator.objects.settings import BuildSettings

POD_NAME = "POD_NAME"


def find_endpoint(mdep: ModelDeployment, settings: BuildSettings) -> str:
    """Returns the collector's address, empty where nothing is traced."""
    tracing = mdep.spec.tracing or Tracing()
    return (tracing.endpoint or settings.tracing.endpoint) if tracing.enabled else ""


def find_collector_port(mdep: ModelDeployment, settings: BuildSettings) -> int | None:
    endpoint = find_endpoint(mdep, settings)
    return find_port(endpoint) if endpoint else None


def build_server_flags(mdep: ModelDeployment, settings: BuildSettings) -> list[str]:
    endpoint = find_endpoint(mdep, settings)
    return ["--tracing-endpoint", endpoint, "--pod-name", f"$({POD_NAME})"] if endpoint else []


def build_gateway_flags(mdep: ModelDeployment, settings: BuildSettings) -> list[str]:
    flags = build_server_flags(mdep, settings)
    if not flags:
        return []
    tracing = mdep.spec.tracing or Tracing()
    ratio = settings.tracing.sampling_ratio if tracing.sampling_ratio is None else tracing.sampling_ratio
    flags += ["--tracing-sampling-ratio", str(ratio)]
    return flags + (["--tracing-follow-parent"] if tracing.follow_parent else [])


def build_environment(mdep: ModelDeployment, settings: BuildSettings) -> list[Object]:
    """Returns the variables that the flags need. NB: none without traces, so that pods stay as they are."""
    if not find_endpoint(mdep, settings):
        return []
    return [{"name": POD_NAME, "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]
