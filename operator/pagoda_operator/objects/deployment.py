"""The Deployment of a model's pods."""

from pagoda_operator.api import ModelDeployment
from pagoda_operator.kube.objects import Object
from pagoda_operator.objects.labels import build_metadata, selector_labels
from pagoda_operator.objects.pod import build_pod_template
from pagoda_operator.objects.settings import BuildSettings

PROGRESS_DEADLINE_SECONDS = 3600


def build_deployment(
    mdep: ModelDeployment, settings: BuildSettings, *, replicas: int | None, no_surge: bool = False
) -> Object:
    """Returns the Deployment. `replicas` None leaves the field to the HPA.

    `no_surge` rolls out without a spare place for a pod.
    """
    rollout = mdep.spec.rollout
    surge, unavailable = (0, 1) if no_surge else (rollout.max_surge, rollout.max_unavailable)
    spec: Object = {
        "selector": {"matchLabels": selector_labels(mdep)},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}},
        "progressDeadlineSeconds": rollout.progress_deadline_seconds or PROGRESS_DEADLINE_SECONDS,
        "revisionHistoryLimit": 5,
        "template": build_pod_template(mdep, settings),
    }
    if replicas is not None:
        spec["replicas"] = replicas
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": build_metadata(mdep), "spec": spec}
