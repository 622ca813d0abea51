"""What is wrong with Pagoda itself in a cluster: its CRD is missing or old, or its operator is silent. Pure."""

from collections.abc import Iterator
from datetime import datetime

from pagoda_cli.diagnosis.causes import Cause
from pagoda_cli.diagnosis.evidence import explain_pod
from pagoda_cli.diagnosis.facts import describe_state, list_containers
from pagoda_cli.diagnosis.observed import Surroundings, age_seconds
from pagoda_operator.api.documents import build_reason_url
from pagoda_operator.kube.objects import Object
from pagoda_operator.kube.pods import is_ready

LEASE_SECONDS = 30.0
LINES = 5


def find_cluster_causes(around: Surroundings, now: datetime) -> tuple[Cause, ...]:
    """Returns what is wrong with Pagoda itself in this cluster."""
    if not around.is_installed:
        message = "the cluster does not serve modeldeployments.pagoda.dev: the CRD is missing"
        steps = ("helm install pagoda … (it installs the CRD), or kubectl apply --server-side -f crds/",)
        return (Cause("", "", "CrdMissing", message, steps=steps, url=build_reason_url("CrdMissing")),)
    return (*_old_crd(around), *_operator_down(around, now))


def _old_crd(around: Surroundings) -> Iterator[Cause]:
    if around.unknown_fields:
        shown = ", ".join(around.unknown_fields[:5])
        message = f"the cluster's CRD is older than this tool: it does not know {shown}"
        steps = ("helm upgrade pagoda …, with the chart of this version", "or use the tool of the cluster's version")
        yield Cause("", "", "CrdOld", message, steps=steps, url=build_reason_url("CrdOld"))


def _operator_down(around: Surroundings, now: datetime) -> Iterator[Cause]:
    if not around.is_lease_read:
        return
    spec = (around.lease or {}).get("spec") or {}
    silent, leads = age_seconds(spec.get("renewTime"), now), bool(spec.get("holderIdentity"))
    if leads and (silent or 0.0) < LEASE_SECONDS:
        return
    said = f"the operator is silent since {silent or 0.0:.0f} s" if leads else "no operator leads"
    message = f"{said}: nothing reconciles, and what conditions say may be old; running models go on serving"
    evidence, steps = _of_operator(around)
    yield Cause("", "", "OperatorDown", message, evidence, steps, build_reason_url("OperatorDown"))


def _of_operator(around: Surroundings) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Returns what is seen of the operator, and what brings it back."""
    look = "kubectl get pods -A -l app.kubernetes.io/component=operator"
    asleep = next((d for d in around.operator_deployments if (d.get("spec") or {}).get("replicas") == 0), None)
    if asleep is not None:
        namespace, name = _place(asleep)
        evidence = (f"Deployment {namespace}/{name} is scaled to 0",)
        return evidence, (f"kubectl -n {namespace} scale deployment {name} --replicas=1", look)
    pods = around.operator_pods
    if pods:
        return _of_pods(pods)
    if around.operator_deployments:
        namespace, name = _place(around.operator_deployments[0])
        return ("there is no pod of it",), (f"kubectl -n {namespace} describe deployment {name}", look)
    if pods == ():
        return ("there is neither a Deployment nor a pod of it",), ("helm list -A", "helm install pagoda …", look)
    return (), (look, "kubectl -n pagoda-system logs deployment/pagoda")


def _of_pods(pods: tuple[Object, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    worst = next((pod for pod in pods if not is_ready(pod)), pods[0])
    namespace, name = _place(worst)
    last = " --previous" if any(container.get("restartCount") for container in list_containers(worst)) else ""
    steps = (f"kubectl -n {namespace} logs {name}{last}", f"kubectl -n {namespace} describe pod {name}")
    return tuple(line for pod in pods for line in _describe(pod))[:LINES], steps


def _describe(pod: Object) -> Iterator[str]:
    namespace, name = _place(pod)
    yield f"pod {namespace}/{name}: {describe_state(pod)}, {'ready' if is_ready(pod) else 'not ready'}"
    yield from explain_pod(pod)


def _place(obj: Object) -> tuple[str, str]:
    return str(obj["metadata"]["namespace"]), str(obj["metadata"]["name"])
