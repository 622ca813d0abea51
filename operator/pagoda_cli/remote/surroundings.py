"""Reads what all models need: the CRD, the operator's pods and its Lease. What may not be read is not judged."""

import re
from collections.abc import Iterator

from pagoda_cli.diagnosis.observed import Surroundings
from pagoda_cli.remote.connection import Cluster
from pagoda_cli.remote.errors import ClusterError
from pagoda_cli.remote.observe import POD
from pagoda_operator.api.crd import build_crd
from pagoda_operator.kube.kinds import LEASE
from pagoda_operator.kube.objects import API_VERSION, KIND, Object

LEASE_NAME_VARIABLE = "PAGODA_LEASE_NAME"
USUAL_LEASE_NAMES = ("pagoda-leader", "pagoda-operator")
"""What the chart's usual release calls it, and what an operator calls it that is told no name."""
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
    pods = _read_operator_pods(cluster)
    namespaces = sorted({str(pod["metadata"]["namespace"]) for pod in pods or ()})
    lease, is_read = _read_lease(cluster, namespaces, _find_lease_names(pods or ()))
    return Surroundings(
        unknown_fields=_find_unknown_fields(served),
        lease=lease,
        is_lease_read=is_read,
        operator_pods=pods,
        operator_version=next((version for pod in pods or () if (version := _version(pod))), None),
    )


def _read_operator_pods(cluster: Cluster) -> tuple[Object, ...] | None:
    for namespace in ("", USUAL_NAMESPACE):
        try:
            return tuple(cluster.list(POD, namespace, labels=OPERATOR_LABELS))
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


def _find_lease_names(pods: tuple[Object, ...]) -> tuple[str, ...]:
    """Returns the names that the operator's pods are told, or the usual ones."""
    containers = [c for pod in pods for c in (pod.get("spec") or {}).get("containers") or ()]
    variables = [variable for c in containers for variable in c.get("env") or ()]
    told = {str(variable.get("value")) for variable in variables if variable["name"] == LEASE_NAME_VARIABLE}
    return tuple(sorted(told)) or USUAL_LEASE_NAMES


def _read_lease(cluster: Cluster, namespaces: list[str], names: tuple[str, ...]) -> tuple[Object | None, bool]:
    """Returns the Lease, and whether it is known that there is or is not one.

    NB: who may not list all Leases knows that there is none only in the namespaces of the operator's pods.
    """
    try:
        found = (lease for name in names for lease in cluster.list(LEASE, fields=f"metadata.name={name}"))
        return next(found, None), True
    except ClusterError:
        pass
    is_known = False
    for namespace in namespaces or [USUAL_NAMESPACE]:
        try:
            leases = [cluster.find(LEASE, name, namespace) for name in names]
        except ClusterError:
            continue
        if lease := next((lease for lease in leases if lease), None):
            return lease, True
        is_known = bool(namespaces)
    return None, is_known


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
