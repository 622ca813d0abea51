"""The one error of speaking with a cluster, in the user's words: what was asked, what came back, what to do."""

from pagoda_cli.text import one_line

VIEWER, EDITOR = "pagoda-modeldeployment-viewer", "pagoda-modeldeployment-editor"


class ClusterError(Exception):
    """The cluster cannot be reached, or refused; `status` is the HTTP code, 0 where no answer came."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(one_line(message))
        self.status = status


def explain_refusal(status: int, message: str, *, verb: str, resource: str, namespace: str) -> ClusterError:
    """Returns the error for an answer that is none of 2xx; `resource` is a plural such as pods/log."""
    where = f" in namespace {namespace}" if namespace else " in the whole cluster"
    if status == 401:
        return ClusterError("the cluster does not know you (401): log in again, or give --token or --user", status)
    if status == 403:
        return ClusterError(f"you may not {verb} {resource}{where}: ask for {_role(verb, resource)}", status)
    if status == 404:
        return ClusterError(f"{resource}{where}: not found: {message}", status)
    return ClusterError(f"{verb} {resource}{where}: the API server answered {status}: {message[:300]}", status)


def _role(verb: str, resource: str) -> str:
    if resource.startswith("modeldeployments"):
        reads = verb in ("get", "list", "watch")
        name, wider = (VIEWER, "view") if reads else (EDITOR, "edit")
        return f"the ClusterRole {wider} there (the chart adds {name} to it)"
    if resource in ("pods/portforward", "pods/proxy", "secrets"):
        return f"a role with the verb {verb} on {resource}, such as edit"
    return f"a role with the verb {verb} on {resource}, such as view"
