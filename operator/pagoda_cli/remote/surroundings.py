"""Reads what all models need: the CRD, the operator's pods and its Lease. What may not be read is not judged."""

import re
from collections.abc import Iterable, Iterator

from pagoda_cli.diagnosis.observed import Surroundings
from pagoda_cli.remote.connection import Cluster
from pagoda_cli.remote.errors import ClusterError
from pagoda_cli.remote.observe import DEPLOYMENT, POD
from pagoda_operator.api.crd import build_crd
from pagoda_operator.kube.kinds import LEASE, Kind
from pagoda_operator.kube.objects import API_VERSION, KIND, Object

LEASE_NAME = "pagoda-operator"
LEASE_VARIABLE = "PAGODA_LEASE_NAME"
OPERATOR_LABELS = "app.kubernetes.io/component=operator,app.kubernetes.io/part-of=pagoda"
VERSION_LABEL = "app.kubernetes.io/version"
USUAL_NAMESPACE = "pagoda-system"


def observe_surroundings(cluster: Cluster) -> Surroundings:
    """Raises ClusterError only where the cluster does not answer at all."""
    try:
        served = cluster.get_path(f"/openapi/v3/apis/{API_VERSION}", resource="the API's description")
    except ClusterError as error:
        if error.status == 404:
            return Surroundings(is_installed=False)
        if error.status == 0:
            raise
        served = {}
    pods, deployments = _read_operators(cluster, POD), _read_operators(cluster, DEPLOYMENT) or ()
    lease, is_read = _read_lease(cluster, (*(pods or ()), *deployments))
    return Surroundings(
        unknown_fields=_find_unknown_fields(served),
        lease=lease,
        is_lease_read=is_read,
        operator_pods=pods,
        operator_deployments=deployments,
        operator_version=next((version for pod in pods or () if (version := _version(pod))), None),
    )


def _read_operators(cluster: Cluster, kind: Kind) -> tuple[Object, ...] | None:
    for namespace in ("", USUAL_NAMESPACE):
        try:
            return tuple(cluster.list(kind, namespace, labels=OPERATOR_LABELS))
        except ClusterError:
            continue
    return None


def _version(pod: Object) -> str | None:
    label = (pod["metadata"].get("labels") or {}).get(VERSION_LABEL)
    if label:
        return str(label)
    images = [str(c.get("image", "")) for c in (pod.get("spec") or {}).get("containers") or ()]
    found = re.search(r":([\w.-]+)(@|$)", images[0]) if images else None
    return found[1] if found else None


def _read_lease(cluster: Cluster, operators: Iterable[Object]) -> tuple[Object | None, bool]:
    """Returns the Lease, and whether it is known that there is or is not one; `operators` are pods and Deployments.

    NB: without any of them, who may not list all Leases knows nothing.
    """
    places = sorted({_find_lease_place(operator) for operator in operators})
    is_known = False
    for namespace, name in places:
        try:
            lease = cluster.find(LEASE, name, namespace)
        except ClusterError:
            continue
        if lease is not None:
            return lease, True
        is_known = True
    return (None, is_known) if places else _read_default_lease(cluster)


def _find_lease_place(operator: Object) -> tuple[str, str]:
    """Returns namespace and name of an operator's Lease: the chart names it after the release."""
    spec = operator.get("spec") or {}
    spec = (spec.get("template") or {}).get("spec") or spec
    variables = [variable for c in spec.get("containers") or () for variable in c.get("env") or ()]
    named = (variable.get("value") for variable in variables if variable.get("name") == LEASE_VARIABLE)
    return str(operator["metadata"]["namespace"]), str(next(filter(None, named), LEASE_NAME))


def _read_default_lease(cluster: Cluster) -> tuple[Object | None, bool]:
    """Returns the Lease of an operator that runs outside of the cluster."""
    try:
        return next(iter(cluster.list(LEASE, fields=f"metadata.name={LEASE_NAME}")), None), True
    except ClusterError:
        return None, False


def _find_unknown_fields(served: Object) -> tuple[str, ...]:
    """Returns the fields of our spec that the cluster's description of it lacks."""
    schemas = (served.get("components") or {}).get("schemas") or {}
    theirs = next((schema for name, schema in schemas.items() if name.endswith(f".{KIND}")), None)
    if theirs is None:
        return ()
    ours = build_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    known = set(_paths((theirs.get("properties") or {}).get("spec") or {}, "spec"))
    return tuple(path for path in _paths(ours["properties"]["spec"], "spec") if path not in known)


def _paths(schema: Object, path: str) -> Iterator[str]:
    for name, child in (schema.get("properties") or {}).items():
        yield f"{path}.{name}"
        yield from _paths(child, f"{path}.{name}")
