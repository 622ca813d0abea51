"""Reads whole kinds and what the cluster serves. Lists are the truth that the watches are checked against."""

import logging
from collections.abc import Callable, Iterable, Sequence

from pagoda_operator.cluster.client import ApiError, Client
from pagoda_operator.kube.kinds import EVENT, OPTIONAL, Kind, kind_named
from pagoda_operator.kube.objects import Object
from pagoda_operator.kube.pods import waits_for_node

log = logging.getLogger(__name__)


async def read_all(
    client: Client, kind: Kind, namespaces: Iterable[str], *, keep: Callable[[Object], Object]
) -> list[Object]:
    """Returns all objects of a kind in these namespaces, or in all where none is given.

    `keep` returns what is kept of each object, before the next page is read.
    """
    wanted = tuple(namespaces) if kind.namespaced else ()
    return [item for namespace in wanted or ("",) for item in await client.list(kind, namespace, keep=keep)]


async def read_optional_kinds(client: Client) -> frozenset[str]:
    """Returns the names (group/Kind) of the kinds of other projects that this cluster serves."""
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


async def read_object(client: Client, like: Object) -> Object | None:
    """Returns the object of the same kind, namespace and name, whoever made it."""
    meta = like["metadata"]
    return await client.get(kind_named(like["apiVersion"], like["kind"]), meta["name"], meta.get("namespace", ""))


async def read_events(client: Client, pods: Sequence[Object]) -> tuple[Object, ...]:
    """Returns the warnings about pods that wait for their node, oldest first.

    NB: there are too many events to watch them all.
    """
    found: list[Object] = []
    for pod in filter(waits_for_node, pods):
        meta = pod["metadata"]
        fields = f"involvedObject.uid={meta['uid']},type=Warning"
        try:
            found += await client.list(EVENT, meta["namespace"], fields=fields)
        except ApiError as error:  # the reconcile goes on without the kubelet's words
            log.warning("events not read namespace=%s pod=%s error=%s", meta["namespace"], meta["name"], error)
    return tuple(sorted(found, key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or "")))
