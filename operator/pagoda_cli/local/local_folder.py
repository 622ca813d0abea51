"""A model in a folder of this machine (`file:///path`), which no cluster can have: such a file runs only here.

The resource's own rule refuses such a URI, as the API server does. So it is taken out before the check, with another in
its place, and put back after it.
"""

from typing import Any

from pagoda_operator.api import ModelDeployment

SCHEME = "file://"
IN_PLACE = "bundled://in-place-of-a-folder"


def take_folder(found: dict[str, Any]) -> tuple[dict[str, Any], str | None]:
    """Returns the document with a URI that a cluster takes, and the folder's own URI where there is one."""
    spec = found.get("spec")
    model = spec.get("model") if isinstance(spec, dict) else None
    uri = model.get("uri") if isinstance(model, dict) else None
    if not isinstance(spec, dict) or not isinstance(model, dict) or not isinstance(uri, str):
        return found, None
    if not uri.startswith(SCHEME + "/"):
        return found, None
    return found | {"spec": spec | {"model": model | {"uri": IN_PLACE}}}, uri


def put_folder(deployment: ModelDeployment, uri: str) -> ModelDeployment:
    """Returns the checked deployment with its folder's URI."""
    model = deployment.spec.model.model_copy(update={"uri": uri})
    return deployment.model_copy(update={"spec": deployment.spec.model_copy(update={"model": model})})
