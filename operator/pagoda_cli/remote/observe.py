"""Reads a model and what serves it, once. What may not be read is said, and the rest is shown."""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from difflib import get_close_matches
from functools import partial
from typing import Any, TypeVar

from pagoda_cli.diagnosis.facts import event_time, list_containers
from pagoda_cli.diagnosis.observed import Observed, PodLoad
from pagoda_cli.remote.connection import Cluster
from pagoda_cli.remote.errors import ClusterError
from pagoda_operator.kube.kinds import CHILDREN, EVENT, MODEL_DEPLOYMENT, Kind
from pagoda_operator.kube.objects import MODEL_DEPLOYMENT_LABEL, Object
from pagoda_operator.kube.pods import is_made_by, is_ready

PORT = 8000
LOAD_SECONDS = 2.0
MAX_PODS_ASKED = 64
"""The most pods whose load is asked for: a screen must come at once."""
MAX_EVENTS = 200
LOG_LINES = "20"
BY_NAME = {kind.kind: kind for kind in CHILDREN}
DEPLOYMENT, POD, SERVICE = BY_NAME["Deployment"], BY_NAME["Pod"], BY_NAME["Service"]
HPA, INGRESS, CLAIM = BY_NAME["HorizontalPodAutoscaler"], BY_NAME["Ingress"], BY_NAME["PersistentVolumeClaim"]
REPLICA_SET = Kind("apps/v1", "ReplicaSet", "replicasets")
_REFUSED_KEYS = re.compile(r'^pagoda_gateway_requests_total\{[^}]*code="401"[^}]*\} ([0-9.e+]+)$', re.MULTILINE)
_NAME_ONLY = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")

Found = TypeVar("Found")


class _Reader:
    """Reads several things at once, and keeps what could not be read and why."""

    def __init__(self, cluster: Cluster, pool: ThreadPoolExecutor) -> None:
        self.cluster, self.pool = cluster, pool
        self.unread: list[str] = []

    def together(self, *calls: tuple[Callable[[], Any], Any]) -> list[Any]:
        """Returns what the calls found, and for one that was refused what stands beside it."""
        futures = [(self.pool.submit(call), otherwise) for call, otherwise in calls]
        found = []
        for future, otherwise in futures:
            try:
                found.append(future.result())
            except ClusterError as error:
                self.unread.append(str(error))
                found.append(otherwise)
        return found


def observe_model(cluster: Cluster, name: str, namespace: str, *, deeply: bool = False) -> Observed:
    """Returns all there is to see of a model; `deeply` also its logs, Secrets and metrics, for `why`.

    Raises ClusterError, which names what is like it when there is no model of that name.
    """
    mdep = find_model(cluster, name, namespace)
    labels = f"{MODEL_DEPLOYMENT_LABEL}={name}"
    with ThreadPoolExecutor(8, thread_name_prefix="read") as pool:
        reader = _Reader(cluster, pool)
        deployment, replica_sets, pods, hpa, ingress, service, events = reader.together(
            (partial(cluster.find, DEPLOYMENT, name, namespace), None),
            (partial(cluster.list, REPLICA_SET, namespace, labels=labels), []),
            (partial(cluster.list, POD, namespace, labels=labels), []),
            (partial(cluster.find, HPA, name, namespace), None),
            (partial(cluster.find, INGRESS, name, namespace), None),
            (partial(cluster.find, SERVICE, name, namespace), None),
            (partial(cluster.list, EVENT, namespace), []),
        )
        seen = Observed(
            mdep=mdep,
            deployment=deployment,
            replica_sets=tuple(replica_sets),
            pods=tuple(pod for pod in pods if is_made_by(pod, name)),
            hpa=hpa,
            ingress=ingress,
            service=service,
        )
        seen = replace(seen, events=_own_events(events, seen), loads=_read_loads(reader, seen.pods))
        seen = _look_deeper(reader, seen) if deeply else seen
    return replace(seen, unread=tuple(dict.fromkeys(reader.unread)))


def observe_models(cluster: Cluster, namespace: str) -> list[Observed]:
    """Returns the models of a namespace, or of all where none is given, with their HPAs and queues."""
    models = list_models(cluster, namespace)
    with ThreadPoolExecutor(8, thread_name_prefix="read") as pool:
        reader = _Reader(cluster, pool)
        hpas, pods, deployments = reader.together(
            *((partial(cluster.list, kind, namespace, labels=kind.selector), []) for kind in (HPA, POD, DEPLOYMENT))
        )
        loads = _read_loads(reader, pods)
    by_name = {_key(hpa): hpa for hpa in hpas}
    deployed = {_key(deployment): deployment for deployment in deployments}
    found = []
    for mdep in models:
        own = tuple(
            pod
            for pod in pods
            if pod["metadata"]["namespace"] == mdep["metadata"]["namespace"]
            and is_made_by(pod, mdep["metadata"]["name"])
        )
        names = {pod["metadata"]["name"] for pod in own}
        found.append(
            Observed(
                mdep=mdep,
                deployment=deployed.get(_key(mdep)),
                pods=own,
                hpa=by_name.get(_key(mdep)),
                loads={pod: load for pod, load in loads.items() if pod in names},
                unread=tuple(dict.fromkeys(reader.unread)),
            )
        )
    return found


def list_models(cluster: Cluster, namespace: str) -> list[Object]:
    """Raises ClusterError, which says so where the cluster does not know the resource."""
    try:
        return cluster.list(MODEL_DEPLOYMENT, namespace)
    except ClusterError as error:
        raise explain_missing_kind(error) from error


def explain_missing_kind(error: ClusterError) -> ClusterError:
    """Returns the error; a 404 of the list of models means that the CRD is not there."""
    if error.status != 404:
        return error
    return ClusterError(
        f"the cluster does not serve {MODEL_DEPLOYMENT.plural}.{MODEL_DEPLOYMENT.group}: install the chart first", 404
    )


def find_model(cluster: Cluster, name: str, namespace: str) -> Object:
    if not _NAME_ONLY.fullmatch(name):
        raise ClusterError(f"{name!r} is no name of a ModelDeployment: use a-z, 0-9 and '-'")
    mdep = cluster.find(MODEL_DEPLOYMENT, name, namespace)
    if mdep is not None:
        return mdep
    names = [str(model["metadata"]["name"]) for model in list_models(cluster, namespace)]
    close = get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}?" if close else f"there are: {', '.join(sorted(names)) or 'none'}"
    raise ClusterError(f"there is no ModelDeployment {name} in namespace {namespace}: {hint}", 404)


def _key(obj: Object) -> tuple[str, str]:
    return str(obj["metadata"]["namespace"]), str(obj["metadata"]["name"])


def _own_events(events: Iterable[Object], seen: Observed) -> tuple[Object, ...]:
    """Returns the events about the model and its children, by uid where it is known, oldest first."""
    objects = (seen.mdep, seen.deployment, seen.hpa, seen.ingress, seen.service, *seen.replica_sets, *seen.pods)
    uids = {obj["metadata"].get("uid") for obj in objects if obj is not None}
    own = [event for event in events if (event.get("involvedObject") or {}).get("uid") in uids]
    return tuple(sorted(own, key=event_time)[-MAX_EVENTS:])


def _read_loads(reader: _Reader, pods: Sequence[Object]) -> dict[str, PodLoad]:
    ready = [pod["metadata"] for pod in pods if is_ready(pod)]
    if len(ready) > MAX_PODS_ASKED:
        reader.unread.append(f"the queues of {len(ready)} pods: more than {MAX_PODS_ASKED} are not asked")
        return {}
    read = partial(_read_load, reader.cluster)
    calls = [(partial(read, meta["namespace"], meta["name"]), None) for meta in ready]
    found = reader.together(*calls)
    return {meta["name"]: load for meta, load in zip(ready, found, strict=True) if load is not None}


def _read_load(cluster: Cluster, namespace: str, pod: str) -> PodLoad | None:
    try:
        said = json.loads(cluster.read_pod_page(namespace, pod, PORT, "/load", timeout_seconds=LOAD_SECONDS))
        rate = float(said["tokens_per_second"])
        return PodLoad(rate, int(said["queued"]), int(said["queued_tokens"]), int(said["running"]))
    except (ValueError, TypeError, KeyError):
        return None


def _look_deeper(reader: _Reader, seen: Observed) -> Observed:
    failed = [(pod, container) for pod in seen.pods for container in list_containers(pod) if _has_failed(container)]
    keys = [(str(pod["metadata"]["name"]), str(container["name"])) for pod, container in failed[:8]]
    logs = reader.together(*((partial(_read_end, reader.cluster, seen.namespace, *key), "") for key in keys))
    secrets = _named_secrets(seen.mdep)
    has = reader.together(
        *((partial(reader.cluster.has_secret, name, seen.namespace), True) for name in secrets.values())
    )
    ready = (
        [str(pod["metadata"]["name"]) for pod in seen.pods if is_ready(pod)]
        if (seen.mdep.get("spec") or {}).get("auth")
        else []
    )
    refused = reader.together(
        *((partial(_count_refused, reader.cluster, seen.namespace, pod), 0) for pod in ready[:MAX_PODS_ASKED])
    )
    missing = [f"{path}={name}" for (path, name), is_there in zip(secrets.items(), has, strict=True) if not is_there]
    return replace(
        seen,
        logs=dict(zip(keys, logs, strict=True)),
        missing_secrets=tuple(missing),
        refused_keys=sum(refused),
    )


def _has_failed(container: Object) -> bool:
    for state in (container.get("state") or {}, container.get("lastState") or {}):
        if (state.get("terminated") or {}).get("exitCode", 0) != 0:
            return True
    return False


def _read_end(cluster: Cluster, namespace: str, pod: str, container: str) -> str:
    query = {"container": container, "tailLines": LOG_LINES, "limitBytes": "16384"}
    try:
        return cluster.read_log(namespace, pod, previous="true", **query)
    except ClusterError as error:
        if error.status == 400:  # it has not run before
            return cluster.read_log(namespace, pod, **query)
        raise


def _named_secrets(mdep: Object) -> Mapping[str, str]:
    """Returns the Secrets that a spec names, by the field's path."""
    spec = mdep.get("spec") or {}
    named = {
        "spec.auth.apiKeysSecretRef.name": ((spec.get("auth") or {}).get("apiKeysSecretRef") or {}).get("name"),
        "spec.model.tokenSecretRef.name": ((spec.get("model") or {}).get("tokenSecretRef") or {}).get("name"),
        "spec.ingress.tlsSecretName": (spec.get("ingress") or {}).get("tlsSecretName"),
    }
    return {path: str(name) for path, name in named.items() if name}


def _count_refused(cluster: Cluster, namespace: str, pod: str) -> int:
    page = cluster.read_pod_page(namespace, pod, PORT, "/metrics", timeout_seconds=LOAD_SECONDS)
    return round(sum(float(found) for found in _REFUSED_KEYS.findall(page)))
