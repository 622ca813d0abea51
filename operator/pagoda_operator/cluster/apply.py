"""The only writer of objects: server-side apply of what differs, deletions by uid, status when it changed."""

from pagoda_operator.cluster.client import APPLY, MERGE, Client
from pagoda_operator.cluster.kinds import FIELD_MANAGER, MODEL_DEPLOYMENT, Object, kind_named
from pagoda_operator.plan import ObjectRef


async def apply_object(client: Client, desired: Object) -> Object:
    meta = desired["metadata"]
    return await client.patch(
        kind_named(desired["apiVersion"], desired["kind"]),
        meta["name"],
        meta.get("namespace", ""),
        desired,
        content_type=APPLY,
        fieldManager=FIELD_MANAGER,
        force="true",
    )


async def delete_object(client: Client, ref: ObjectRef) -> None:
    await client.delete(kind_named(ref.api_version, ref.kind), ref.name, ref.namespace, uid=ref.uid)


async def apply_status(client: Client, model: Object, status: Object) -> Object | None:
    """Writes nothing when the status already says this. Keys that are gone are removed."""
    before = model.get("status") or {}
    if before == status:
        return None
    meta = model["metadata"]
    patch = _merge_patch(before, status)
    body = {"metadata": {"uid": meta["uid"]}, "status": patch}
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
    """RFC 7386: lists are replaced whole, a missing key is null."""
    patch: Object = {key: None for key in before if key not in after}
    for key, value in after.items():
        old = before.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            patch[key] = _merge_patch(old, value)
        elif key not in before or old != value:
            patch[key] = value
    return patch
