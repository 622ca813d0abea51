"""Gathers a support bundle. It never asks for a Secret or a ConfigMap; what it may not read, it names."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, TypeVar

from pagoda_cli.bundle.archive import Archive
from pagoda_cli.diagnosis.causes import find_causes
from pagoda_cli.diagnosis.cluster_causes import find_cluster_causes
from pagoda_cli.diagnosis.facts import build_facts
from pagoda_cli.diagnosis.observed import Observed, Surroundings
from pagoda_cli.remote.connection import Cluster
from pagoda_cli.remote.errors import ClusterError
from pagoda_cli.remote.observe import CLAIM, LOAD_SECONDS, PORT, observe_model
from pagoda_cli.screens.paint import render_plain
from pagoda_cli.screens.status import build_model_screen
from pagoda_cli.screens.why import build_why
from pagoda_operator.kube.kinds import EVENT, Kind
from pagoda_operator.kube.objects import MODEL_DEPLOYMENT_LABEL, Object
from pagoda_operator.kube.pods import is_ready

LOG_LINES = "2000"
LOG_BYTES = str(512 * 1024)
MAX_PODS = 20
NODE = Kind("v1", "Node", "nodes", namespaced=False)
WIDTH = 120
_NODE_FIELDS = ("allocatable", "capacity", "conditions", "nodeInfo")
Say = Callable[[str], None]
Found = TypeVar("Found")


class Collector:
    """Reads one thing after the other into the archive; a refusal is a line of what could not be read."""

    def __init__(self, cluster: Cluster, archive: Archive, say: Say) -> None:
        self._cluster, self._archive, self._say = cluster, archive, say
        self.unread: list[str] = []

    def add_model(self, name: str, namespace: str) -> None:
        """Adds a model with its children, events, logs and metrics. Raises ClusterError where there is none."""
        self._say(f"model {namespace}/{name}")
        seen = observe_model(self._cluster, name, namespace, deeply=True)
        self.unread += seen.unread
        folder, now = f"models/{namespace}/{name}", self._cluster.now()
        causes = find_causes(seen, now)
        screen = build_model_screen(build_facts(seen, now), causes)
        self._archive.add_text(f"{folder}/status.txt", render_plain(screen, WIDTH))
        self._archive.add_text(f"{folder}/why.txt", render_plain(build_why(causes, checked=1), WIDTH))
        self._add_children(folder, seen)
        for pod in seen.pods[:MAX_PODS]:
            self._add_pod(f"{folder}/pods", pod)

    def _add_children(self, folder: str, seen: Observed) -> None:
        labels = f"{MODEL_DEPLOYMENT_LABEL}={seen.name}"
        none: list[Object] = []
        claims = self._try(partial(self._cluster.list, CLAIM, seen.namespace, labels=labels), none)
        self._archive.add_object(f"{folder}/modeldeployment.json", seen.mdep)
        for name, found in (
            ("deployment", seen.deployment),
            ("hpa", seen.hpa),
            ("ingress", seen.ingress),
            ("service", seen.service),
        ):
            if found is not None:
                self._archive.add_object(f"{folder}/{name}.json", found)
        self._archive.add_objects(f"{folder}/replicasets.json", seen.replica_sets)
        self._archive.add_objects(f"{folder}/pods.json", seen.pods)
        self._archive.add_objects(f"{folder}/claims.json", claims)
        self._archive.add_objects(f"{folder}/events.json", seen.events)

    def _add_pod(self, folder: str, pod: Object) -> None:
        namespace, name = str(pod["metadata"]["namespace"]), str(pod["metadata"]["name"])
        spec = pod.get("spec") or {}
        for container in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ())):
            query = {"container": container["name"], "tailLines": LOG_LINES, "limitBytes": LOG_BYTES}
            for suffix, more in (("", {}), (".previous", {"previous": "true"})):
                text = self._try(
                    partial(self._cluster.read_log, namespace, name, **query, **more), "", quiet=(400, 404)
                )
                if text:
                    self._archive.add_text(f"{folder}/{name}/{container['name']}{suffix}.log", text)
        if is_ready(pod):
            for page in ("metrics", "load"):
                ask = partial(self._cluster.read_pod_page, namespace, name, PORT, f"/{page}")
                text = self._try(partial(ask, timeout_seconds=LOAD_SECONDS), "", quiet=(404, 503))
                if text:
                    self._archive.add_text(f"{folder}/{name}/{page}.txt", text)

    def add_operator(self, around: Surroundings) -> None:
        """Adds the operator's pods with their logs and events, its Lease, and what is wrong with Pagoda itself."""
        self._say("operator")
        causes = find_cluster_causes(around, self._cluster.now())
        self._archive.add_text("operator/why.txt", render_plain(build_why(causes, checked=0), WIDTH))
        if around.lease is not None:
            self._archive.add_object("operator/lease.json", around.lease)
        pods = around.operator_pods or ()
        self._archive.add_objects("operator/pods.json", pods)
        for pod in pods[:MAX_PODS]:
            self._add_pod("operator/pods", pod)
        names = {str(pod["metadata"]["name"]) for pod in pods}
        none: list[Object] = []
        for namespace in sorted({str(pod["metadata"]["namespace"]) for pod in pods}):
            events = self._try(partial(self._cluster.list, EVENT, namespace), none)
            own = [event for event in events if (event.get("involvedObject") or {}).get("name") in names]
            self._archive.add_objects(f"operator/events-{namespace}.json", own)

    def add_nodes(self) -> None:
        """Adds what nodes have room for and how they are; no address of theirs."""
        self._say("nodes")
        none: list[Object] = []
        nodes = self._try(partial(self._cluster.list, NODE), none)
        self._archive.add_objects("nodes.json", [_slim_node(node) for node in nodes])

    def add_versions(self, tool: str, around: Surroundings) -> None:
        nothing: Object = {}
        server = self._try(partial(self._cluster.get_path, "/version", resource="version"), nothing)
        found = {"tool": tool, "operator": around.operator_version, "kubernetes": server.get("gitVersion")}
        missing = list(around.unknown_fields)
        self._archive.add_object("versions.json", {**found, "installed": around.is_installed, "crdLacks": missing})

    def _try(self, read: Callable[[], Found], otherwise: Found, *, quiet: Sequence[int] = ()) -> Found:
        try:
            return read()
        except ClusterError as error:
            if error.status not in quiet:
                self.unread.append(str(error))
            return otherwise


def _slim_node(node: Object) -> dict[str, Any]:
    metadata, status = node["metadata"], node.get("status") or {}
    spec = node.get("spec") or {}
    return {
        "metadata": {"name": metadata.get("name"), "labels": metadata.get("labels") or {}},
        "spec": {key: spec[key] for key in ("taints", "unschedulable") if key in spec},
        "status": {key: status[key] for key in _NODE_FIELDS if key in status},
    }


def build_readme(tool: str, at: str, unread: Iterable[str]) -> str:
    """Returns what is in the bundle and what is not, for whoever gets it."""
    lines = [
        f"A support bundle of Pagoda, made by `pagoda report` {tool} at {at}.",
        "",
        "In it: ModelDeployments and their children, events, the ends of logs, metrics, the operator, what nodes have",
        "room for, versions. Not in it: Secrets, ConfigMaps, helm releases, addresses of nodes. What looks like a",
        "secret (tokens, keys, passwords, signed addresses) was replaced by [removed]. Look through it before you",
        "give it away: a prompt or a key without a known form in a log line is not recognised.",
    ]
    missing = list(dict.fromkeys(unread))
    return "\n".join([*lines, *(["", "Could not be read:", *missing] if missing else []), ""])
