"""The pod of a ModelDeployment, from the same builder as the operator's: what runs here is what runs in the cluster."""

from dataclasses import dataclass
from typing import Any

from pagoda_cli.local.plan import PlanError
from pagoda_operator.api import ModelDeployment
from pagoda_operator.api.pod import Pod
from pagoda_operator.objects.pod import build_pod_template
from pagoda_operator.objects.settings import BuildSettings

IMAGES = BuildSettings(control_image="local", server_image="local")


@dataclass(frozen=True, slots=True)
class LocalPod:
    """What `pagoda run` takes from a model deployment. `spec` is the pod's."""

    name: str
    uri: str
    model_name: str
    replicas: int
    drain_seconds: int
    spec: dict[str, Any]
    gpus: int = 0


def build_local_pod(deployment: ModelDeployment) -> LocalPod:
    """Builds the PodSpec and counts the replicas; an autoscaled model starts with its minimum, and at least one.

    Raises PlanError for variables and volumes: a file brings no code that runs here.
    """
    spec = deployment.spec
    _refuse_variables_and_volumes(spec.pod)
    fixed = spec.fixed_replicas
    if fixed is None:
        fixed = spec.autoscaling.min_replicas if spec.autoscaling is not None else 1
    return LocalPod(
        name=deployment.name,
        uri=spec.model.uri,
        model_name=deployment.served_model_name,
        replicas=max(fixed, 1),
        drain_seconds=spec.rollout.drain_seconds,
        spec=build_pod_template(deployment, IMAGES)["spec"],
        gpus=spec.gpus,
    )


def _refuse_variables_and_volumes(pod: Pod) -> None:
    wanted = {"env": pod.env, "envFrom": pod.env_from, "volumes": pod.volumes, "volumeMounts": pod.volume_mounts}
    for name, value in wanted.items():
        if value is not None:
            fix = "remove it here; the processes have the variables of your own environment"
            raise PlanError(f"pod.{name}: `pagoda run` has none: {fix}")
