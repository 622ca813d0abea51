"""Which cluster, user and namespace the flags and the kubeconfig mean: as kubectl decides it."""

import os
from pathlib import Path
from typing import Any

from kubernetes import client as kubernetes_client
from kubernetes.config import kube_config
from kubernetes.config.config_exception import ConfigException
from kubernetes.config.incluster_config import load_incluster_config

from pagoda_cli.remote.connection import Cluster, describe_failure
from pagoda_cli.remote.errors import ClusterError
from pagoda_cli.remote.flags import ClusterFlags

CONNECTIONS = 16
SEE = "kubectl config view shows it"
_CHOSEN = "(chosen)"
_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def connect(flags: ClusterFlags) -> Cluster:
    """Returns the cluster that kubectl would speak with. Raises ClusterError. It asks the cluster nothing yet."""
    configuration = kubernetes_client.Configuration()
    namespace = _load(flags, configuration)
    configuration.retries = False
    configuration.connection_pool_maxsize = CONNECTIONS
    try:
        api_client = kubernetes_client.ApiClient(configuration)
    except Exception as error:  # a certificate or a key that OpenSSL cannot read
        raise ClusterError(f"the certificates of the kubeconfig cannot be used: {describe_failure(error)}") from error
    return Cluster(api_client, flags.namespace or namespace, flags)


def _load(flags: ClusterFlags, configuration: Any) -> str:
    """Fills in the configuration, and returns the context's namespace."""
    if flags.kubeconfig is not None and not flags.kubeconfig.is_file():
        raise ClusterError(f"--kubeconfig {flags.kubeconfig}: no such file: give the path of a kubeconfig")
    paths = str(flags.kubeconfig or os.environ.get("KUBECONFIG") or Path.home() / ".kube" / "config")
    try:
        merged = kube_config.KubeConfigMerger(paths).config
    except Exception as error:  # a file that may not be read, is no YAML, or no kubeconfig
        raise ClusterError(f"the kubeconfig {paths} cannot be read: {describe_failure(error)}") from error
    if merged is None and not flags.server:
        return _load_in_cluster(configuration, paths)
    try:
        entries = _Entries(merged)
        context = entries.choose_context(flags)
        kube_config.KubeConfigLoader(
            {
                "current-context": _CHOSEN,
                "contexts": [{"name": _CHOSEN, "context": dict.fromkeys(("cluster", "user"), _CHOSEN)}],
                "clusters": [entries.build_cluster(context.get("cluster"), flags)],
                "users": [entries.build_user(context.get("user"), flags)],
            },
            config_base_path=None,
        ).load_and_set(configuration)
    except (ConfigException, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ClusterError(f"the kubeconfig {paths} cannot be used: {describe_failure(error)}: {SEE}") from error
    return str(context.get("namespace") or "default")


class _Entries:
    """The clusters, users and contexts of the merged kubeconfigs, by name.

    NB: files are named relative to the kubeconfig that names them, so each entry keeps its own path.
    """

    def __init__(self, merged: Any) -> None:
        self.current = str(merged.value.get("current-context") or "") if merged is not None else ""
        self.found: dict[str, dict[str, Any]] = {
            kind: {str(node["name"]): node for node in (merged.value[f"{kind}s"] if merged is not None else ())}
            for kind in ("context", "cluster", "user")
        }

    def choose_context(self, flags: ClusterFlags) -> dict[str, Any]:
        """Returns the context that --context or the kubeconfig names, with what the other flags change of it."""
        name, known = flags.context or self.current, self.found["context"]
        if not name and not flags.cluster and not flags.server:
            fix = f"kubectl config use-context NAME, or --context ({_names(known)})"
            raise ClusterError(f"no context is chosen: {fix}")
        if name and name not in known:
            raise ClusterError(f"there is no context {name!r}: choose one of {_names(known)}")
        chosen = dict(known[name]["context"].value) if name else {}
        for kind, given in (("cluster", flags.cluster), ("user", flags.user)):
            if given is not None:
                if given not in self.found[kind]:
                    there = _names(self.found[kind])
                    raise ClusterError(f"--{kind} {given!r}: the kubeconfig has none of that name: {there}")
                chosen[kind] = given
        return chosen

    def build_cluster(self, name: str | None, flags: ClusterFlags) -> Any:
        fields = self._fields("cluster", name)
        if flags.server:
            fields["server"] = flags.server.rstrip("/")
        if flags.certificate_authority:
            fields.pop("certificate-authority-data", None)
            fields["certificate-authority"] = str(flags.certificate_authority.absolute())
        if flags.insecure_skip_tls_verify:
            fields["insecure-skip-tls-verify"] = True
        return self._node("cluster", name, fields)

    def build_user(self, name: str | None, flags: ClusterFlags) -> Any:
        fields = {"token": flags.token} if flags.token else self._fields("user", name)
        return self._node("user", name, fields)

    def _fields(self, kind: str, name: str | None) -> dict[str, Any]:
        node = self.found[kind].get(name) if name else None
        return dict(node[kind].value) if node is not None and node.value.get(kind) else {}

    def _node(self, kind: str, name: str | None, fields: dict[str, Any]) -> Any:
        node = self.found[kind].get(name) if name else None
        path = node.path if node is not None else None
        return kube_config.ConfigNode(kind, {"name": _CHOSEN, kind: fields}, path)


def _names(known: Any) -> str:
    return ", ".join(sorted(known)) or "none"


def _load_in_cluster(configuration: Any, paths: str) -> str:
    try:
        load_incluster_config(client_configuration=configuration)
    except ConfigException as error:
        fix = "set KUBECONFIG, give --kubeconfig FILE, or log in to a cluster first"
        raise ClusterError(f"there is no kubeconfig at {paths}: {fix}") from error
    try:
        return _NAMESPACE_FILE.read_text(encoding="utf-8").strip() or "default"
    except OSError:
        return "default"


def list_contexts(kubeconfig: Path | None) -> list[str]:
    """Returns the names of the kubeconfig's contexts, for completion; none where it cannot be read."""
    paths = str(kubeconfig or os.environ.get("KUBECONFIG") or Path.home() / ".kube" / "config")
    try:
        merged = kube_config.KubeConfigMerger(paths).config
        return [str(entry["name"]) for entry in merged.value["contexts"]] if merged is not None else []
    except Exception:  # completion says nothing rather than an error
        return []
