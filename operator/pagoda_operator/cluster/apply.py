"""The only writer of objects: server-side apply of what differs, deletions by uid, status when it changed.

Each write carries the version that was planned on: whoever planned on an older one is told (409), and looks again.
"""

from collections.abc import Iterable

from pagoda_operator.cluster.client import APPLY, JSON_PATCH, MERGE, ApiError, Client
from pagoda_operator.kube.kinds import FIELD_MANAGER, MODEL_DEPLOYMENT, kind_named
from pagoda_operator.kube.objects import Object
from pagoda_operator.plan import ObjectRef


async def apply_object(client: Client, desired: Object, live: Object | None) -> Object:
    """Applies one object and returns what the API server made of it.

    `live` is what was planned on; None where the API server has no such object.
    """
    meta = desired["metadata"]
    if live is not None:
        meta = {**meta, **{key: live["metadata"][key] for key in ("uid", "resourceVersion")}}
    return await client.patch(
        kind_named(desired["apiVersion"], desired["kind"]),
        meta["name"],
        meta.get("namespace", ""),
        {**desired, "metadata": meta},
        content_type=APPLY,
        fieldManager=FIELD_MANAGER,
        force="true",
    )


async def remove_fields(client: Client, live: Object, paths: Iterable[tuple[str | int, ...]]) -> Object:
    """Removes what others added to what is ours as a whole, which an apply leaves alone."""
    meta = live["metadata"]
    unchanged = {"op": "test", "path": "/metadata/resourceVersion", "value": meta["resourceVersion"]}
    try:
        return await client.patch(
            kind_named(live["apiVersion"], live["kind"]),
            meta["name"],
            meta.get("namespace", ""),
            [unchanged, *({"op": "remove", "path": _pointer(path)} for path in paths)],
            content_type=JSON_PATCH,
            fieldManager=FIELD_MANAGER,
        )
    except ApiError as error:
        if error.status != 422:
            raise
        raise ApiError(409, "the object has been modified while it was put right") from error  # the test said so


def _pointer(path: Iterable[str | int]) -> str:
    """Returns the JSON pointer (RFC 6901) of a path."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)


async def delete_object(client: Client, ref: ObjectRef) -> Object | None:
    """Deletes the object; returns it where finalizers hold it back."""
    return await client.delete(kind_named(ref.api_version, ref.kind), ref.name, ref.namespace, uid=ref.uid)


async def apply_status(client: Client, model: Object, status: Object) -> Object | None:
    """Writes the status unless it already says this; keys that are gone are removed."""
    before = model.get("status")
    before = before if isinstance(before, dict) else {}
    if before == status:
        return None
    meta = model["metadata"]
    patch = _merge_patch(before, status)
    planned_on = {key: meta[key] for key in ("uid", "resourceVersion")}
    body = {"metadata": planned_on, "status": patch}
    return await client.patch(
        MODEL_DEPLOYMENT,
        meta["name"],
        meta["namespace"],
        body,
        content_type=MERGE,
        subresource="status",
        fieldManager=FIELD_MANAGER,
    )


def _merge_patch(before: Object, after: Object) -> Object:
    """Returns the JSON merge patch (RFC 7386): lists are replaced as a whole, a missing key is null."""
    patch: Object = {key: None for key in before if key not in after}
    for key, value in after.items():
        old = before.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            patch[key] = _merge_patch(old, value)
        elif key not in before or old != value:
            patch[key] = value
    return patch
