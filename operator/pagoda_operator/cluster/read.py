"""Reads whole kinds and what the cluster serves. Lists are the truth that the watches are checked against."""

from collections.abc import Iterable

from pagoda_operator.cluster.client import ApiError, Client
from pagoda_operator.cluster.kinds import OPTIONAL, Kind, Object


async def read_all(client: Client, kind: Kind, namespaces: Iterable[str]) -> list[Object]:
    wanted = tuple(namespaces) if kind.namespaced else ()
    if not wanted:
        return await client.list(kind)
    return [item for namespace in wanted for item in await client.list(kind, namespace)]


async def read_optional_kinds(client: Client) -> frozenset[str]:
    """Names (group/Kind) of the kinds of other projects that this cluster serves."""
    served: set[str] = set()
    for api_version in sorted({kind.api_version for kind in OPTIONAL}):
        try:
            found = await client.request("GET", f"/apis/{api_version}", kind="APIResourceList", verb="get")
        except ApiError as error:
            if error.status != 404:
                raise
            continue
        group = api_version.partition("/")[0]
        served |= {f"{group}/{resource['kind']}" for resource in found["resources"]}
    return frozenset(served & {kind.full_name for kind in OPTIONAL})
