"""What differs: each object carries the hash of itself, so that nothing is written at rest."""

import hashlib
import json
from typing import Any

from pagoda_operator.build.labels import APPLIED_HASH, Object


def hash_of(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def with_hash(desired: Object) -> Object:
    metadata = desired["metadata"]
    annotations = {**metadata.get("annotations", {}), APPLIED_HASH: hash_of(desired)}
    return {**desired, "metadata": {**metadata, "annotations": annotations}}


def needs_apply(desired: Object, live: Object | None, *, accepted: Object | None = None) -> bool:
    """True when the live object is not the desired one: by its hash, or because somebody changed what we wrote.

    `accepted` is what the API server made of this object when we last applied it (defaults, canonical quantities).
    """
    if live is None:
        return True
    wanted = desired["metadata"]["annotations"][APPLIED_HASH]
    if (live["metadata"].get("annotations") or {}).get(APPLIED_HASH) != wanted:
        return True
    seen = project(desired, live)
    return seen not in (desired, accepted)


def project(desired: Any, live: Any) -> Any:
    """The part of `live` that `desired` speaks of. NB: the API server drops what is empty."""
    if live is None and desired in ({}, []):
        return desired
    if isinstance(desired, dict) and isinstance(live, dict):
        return {key: project(value, live.get(key)) for key, value in desired.items()}
    if isinstance(desired, list) and isinstance(live, list) and len(desired) == len(live):
        return [project(item, found) for item, found in zip(desired, live, strict=True)]
    return live
