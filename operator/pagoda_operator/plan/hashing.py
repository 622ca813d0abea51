"""What differs: each object carries the hash of itself, so that nothing is written at rest."""

import hashlib
import json
from typing import Any

from pagoda_operator.kube.objects import APPLIED_HASH, Object
from pagoda_operator.plan.drift import find_foreign, is_same, project


def hash_of(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def with_hash(desired: Object) -> Object:
    metadata = desired["metadata"]
    annotations = {**metadata.get("annotations", {}), APPLIED_HASH: hash_of(desired)}
    return {**desired, "metadata": {**metadata, "annotations": annotations}}


def needs_apply(desired: Object, live: Object | None, *, accepted: Object | None = None) -> bool:
    """Returns whether the live object is not the desired one, by its hash or because somebody changed what we wrote.

    `accepted` is what the API server made of this object when we last applied it (defaults, canonical forms).
    """
    if live is None:
        return True
    wanted = desired["metadata"]["annotations"][APPLIED_HASH]
    if (live["metadata"].get("annotations") or {}).get(APPLIED_HASH) != wanted or find_foreign(desired, live):
        return True
    seen = project(desired, live)
    return seen != accepted and not is_same(desired, seen)
