"""The API key for a model: the one that was given, else the first of the Secret that the model names, if one may."""

import base64
import binascii
from dataclasses import dataclass

from pagoda_cli.remote.connection import Cluster
from pagoda_cli.remote.errors import ClusterError
from pagoda_operator.kube.objects import Object


@dataclass(frozen=True, slots=True)
class ApiKey:
    """`source` says where it comes from, for people; the value is never shown."""

    value: str | None
    source: str = ""


def find_api_key(cluster: Cluster, mdep: Object, given: str | None) -> ApiKey:
    """Raises ClusterError where a key is needed and none can be had."""
    if given:
        return ApiKey(given)
    reference = ((mdep.get("spec") or {}).get("auth") or {}).get("apiKeysSecretRef") or {}
    secret, namespace = reference.get("name"), str(mdep["metadata"]["namespace"])
    if not secret:
        return ApiKey(None)
    try:
        data = cluster.read_secret_data(secret, namespace)
    except ClusterError as error:
        raise ClusterError(f"the model asks for an API key: give --key or PAGODA_API_KEY ({error})") from error
    for tenant, text in sorted(data.items()):
        try:
            key = base64.b64decode(text).decode().strip()
        except (binascii.Error, UnicodeDecodeError):
            continue
        if key:
            return ApiKey(key, f"using the API key of the tenant {tenant}, from the Secret {secret}")
    raise ClusterError(f"the Secret {secret} holds no key: add one: TENANT: KEY")
