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


def needs_apply(desired: Object, live: Object | None) -> bool:
    """True when the live object is not the desired one: by its hash, and by replicas that somebody else set."""
    if live is None:
        return True
    wanted = desired["metadata"]["annotations"][APPLIED_HASH]
    if live["metadata"].get("annotations", {}).get(APPLIED_HASH) != wanted:
        return True
    replicas = desired.get("spec", {}).get("replicas")
    return replicas is not None and live.get("spec", {}).get("replicas") != replicas
