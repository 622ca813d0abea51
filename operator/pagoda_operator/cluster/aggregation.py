"""What joins the metrics API to the cluster: whom it may trust, the Secret with its certificate, its APIServices.

NB: an APIService that points elsewhere belongs to someone else and is never touched.
"""

import base64
import json

from pagoda_operator.cluster.client import MERGE, ApiError, Client
from pagoda_operator.cluster.kinds import API_SERVICE, CONFIG_MAP, FIELD_MANAGER, SECRET, Object

GROUP = "custom.metrics.k8s.io"
VERSIONS = ("v1beta1", "v1beta2")


async def read_front_proxy(client: Client) -> tuple[str, tuple[str, ...]]:
    """The front proxy's CA (PEM) and its allowed common names. Raises ApiError when the cluster has none."""
    found = await client.get(CONFIG_MAP, "extension-apiserver-authentication", "kube-system")
    data = (found or {}).get("data") or {}
    if "requestheader-client-ca-file" not in data:
        raise ApiError(404, "kube-system/extension-apiserver-authentication has no requestheader-client-ca-file")
    return data["requestheader-client-ca-file"], tuple(json.loads(data.get("requestheader-allowed-names") or "[]"))


async def read_secret(client: Client, name: str, namespace: str) -> tuple[Object | None, dict[str, bytes]]:
    found = await client.get(SECRET, name, namespace)
    data = (found or {}).get("data") or {}
    return found, {key: base64.b64decode(value) for key, value in data.items()}


async def write_secret(
    client: Client, name: str, namespace: str, data: dict[str, bytes], *, replaces: Object | None
) -> bool:
    """False when another replica wrote first: read again."""
    body: Object = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app.kubernetes.io/part-of": "pagoda"}},
        "type": "kubernetes.io/tls",
        "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
    }
    try:
        if replaces is None:
            await client.create(SECRET, body)
        else:
            await client.replace(SECRET, {**replaces, "data": body["data"]})
    except ApiError as error:
        if error.status == 409:
            return False
        raise
    return True


def is_ours(api_service: Object, *, service: str, namespace: str) -> bool:
    reference = api_service["spec"].get("service") or {}
    return reference.get("name") == service and reference.get("namespace") == namespace


async def apply_ca_bundle(client: Client, ca_pem: bytes, *, service: str, namespace: str) -> list[str]:
    """Writes our CA into the APIServices that point at our Service; names those it wrote."""
    written = []
    bundle = base64.b64encode(ca_pem).decode()
    for version in VERSIONS:
        name = f"{version}.{GROUP}"
        found = await client.get(API_SERVICE, name)
        if found is None or not is_ours(found, service=service, namespace=namespace):
            continue
        if found["spec"].get("caBundle") == bundle:
            continue
        spec = {"caBundle": bundle, "insecureSkipTLSVerify": None}
        body = {"metadata": {"resourceVersion": found["metadata"]["resourceVersion"]}, "spec": spec}
        await client.patch(API_SERVICE, name, "", body, content_type=MERGE, fieldManager=FIELD_MANAGER)
        written.append(name)
    return written
