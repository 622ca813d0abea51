"""Names for the shell's completion: from the cluster, in a second, and nothing rather than an error."""

from pathlib import Path
from typing import Any

from pagoda_cli.remote.errors import ClusterError
from pagoda_cli.remote.flags import ClusterFlags
from pagoda_cli.remote.kubeconfig import connect
from pagoda_operator.kube.kinds import MODEL_DEPLOYMENT, Kind

TIMEOUT_SECONDS = 1.0
NAMESPACE = Kind("v1", "Namespace", "namespaces", namespaced=False)


def complete(what: str, given: dict[str, Any]) -> list[str]:
    """Returns names: `what` is list_namespaces or list_model_names, `given` the flags that stand on the line so far."""
    kubeconfig = given.pop("kubeconfig", None)
    flags = ClusterFlags(
        **given, kubeconfig=Path(kubeconfig) if kubeconfig else None, request_timeout_seconds=TIMEOUT_SECONDS
    )
    try:
        cluster = connect(flags)
        if what == "list_namespaces":
            found = cluster.list(NAMESPACE)
        else:
            found = cluster.list(MODEL_DEPLOYMENT, cluster.namespace)
    except ClusterError:
        return []
    return [str(item["metadata"]["name"]) for item in found]
