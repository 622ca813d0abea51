"""What joins the metrics API to the cluster: whom it may trust, the Secret with its certificate, its APIServices.

An APIService that nobody answers for keeps every namespace from being deleted, so ours is there only while an operator
is (docs/adr/0003). NB: one that points elsewhere belongs to someone else and is never touched.
"""

import base64
from dataclasses import replace

from pagoda_operator.cluster.client import APPLY, ApiError, Client
from pagoda_operator.kube.kinds import API_SERVICE, CLUSTER_ROLE, CONFIG_MAP, ENDPOINT_SLICE, FIELD_MANAGER, SECRET
from pagoda_operator.kube.objects import Object
from pagoda_operator.metrics_api.shapes import GROUP, VERSIONS
from pagoda_operator.metrics_api.trust import Trust, parse_trust
from pagoda_operator.plan import project


async def read_trust(client: Client) -> Trust:
    """Returns whom the cluster says its front proxy is.

    Raises TrustError, or ApiError when the cluster could not be asked.
    """
    found = await client.get(CONFIG_MAP, "extension-apiserver-authentication", "kube-system")
    return parse_trust((found or {}).get("data") or {})


async def read_secret(client: Client, name: str, namespace: str) -> tuple[Object | None, dict[str, bytes]]:
    found = await client.get(SECRET, name, namespace)
    data = (found or {}).get("data") or {}
    return found, {key: base64.b64decode(value) for key, value in data.items()}


async def write_secret(
    client: Client, name: str, namespace: str, data: dict[str, bytes], *, replaces: Object | None
) -> bool:
    """Writes the Secret; returns False when another replica wrote first and it is to be read again."""
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


def build_api_service(version: str, ca_pem: bytes, *, service: str, namespace: str, owner: Object | None) -> Object:
    name = f"{version}.{GROUP}"
    metadata: Object = {"name": name, "labels": {"app.kubernetes.io/part-of": "pagoda"}}
    if owner is not None:
        metadata["ownerReferences"] = [owner]
    spec = {
        "group": GROUP,
        "version": version,
        "groupPriorityMinimum": 100,
        "versionPriority": 100 + len(VERSIONS) - 1 - VERSIONS.index(version),
        "service": {"name": service, "namespace": namespace, "port": 443},
        "caBundle": base64.b64encode(ca_pem).decode(),
    }
    return {"apiVersion": API_SERVICE.api_version, "kind": API_SERVICE.kind, "metadata": metadata, "spec": spec}


async def read_owner(client: Client, cluster_role: str) -> Object | None:
    """Returns a reference to the chart's ClusterRole: the garbage collector removes with it what it owns."""
    found = await client.get(CLUSTER_ROLE, cluster_role) if cluster_role else None
    if found is None:
        return None
    return {
        "apiVersion": CLUSTER_ROLE.api_version,
        "kind": CLUSTER_ROLE.kind,
        "name": cluster_role,
        "uid": found["metadata"]["uid"],
    }


async def register(client: Client, ca_pem: bytes, *, service: str, namespace: str, cluster_role: str) -> list[str]:
    """Registers the metrics API where nobody else has, and renews its CA; returns the APIServices that were written."""
    owner = await read_owner(client, cluster_role)
    written = []
    for version in VERSIONS:
        wanted = build_api_service(version, ca_pem, service=service, namespace=namespace, owner=owner)
        name = wanted["metadata"]["name"]
        found = await client.get(API_SERVICE, name)
        if found is not None and not is_ours(found, service=service, namespace=namespace):
            continue
        if found is not None and project(wanted, found) == wanted:
            continue
        await client.patch(
            API_SERVICE,
            name,
            "",
            wanted,
            content_type=APPLY,
            fieldManager=FIELD_MANAGER,
            force=str(bool(found)).lower(),
        )
        written.append(name)
    return written


async def unregister(client: Client, *, service: str, namespace: str) -> list[str]:
    """Removes our APIServices; returns their names."""
    gone = []
    for version in VERSIONS:
        found = await client.get(API_SERVICE, f"{version}.{GROUP}")
        if found is not None and is_ours(found, service=service, namespace=namespace):
            await client.delete(API_SERVICE, found["metadata"]["name"], "", uid=found["metadata"]["uid"])
            gone.append(found["metadata"]["name"])
    return gone


async def serves_elsewhere(client: Client, *, service: str, namespace: str, identity: str) -> bool:
    """Returns whether a pod other than `identity` is ready behind the Service."""
    slices = await client.list(replace(ENDPOINT_SLICE, selector=f"kubernetes.io/service-name={service}"), namespace)
    return any(
        (endpoint.get("conditions") or {}).get("ready") and (endpoint.get("targetRef") or {}).get("name") != identity
        for found in slices
        for endpoint in found.get("endpoints") or ()
    )
