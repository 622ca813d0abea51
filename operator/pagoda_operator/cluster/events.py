"""Events on the user's object, so that `kubectl describe` tells the story. Written on transitions only."""

import uuid
from datetime import UTC, datetime

from pagoda_operator.cluster.client import Client
from pagoda_operator.kube.kinds import EVENT
from pagoda_operator.kube.objects import Object

COMPONENT = "pagoda-operator"


async def apply_event(client: Client, model: Object, *, type_: str, reason: str, message: str, now: float) -> None:
    meta = model["metadata"]
    time = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    event: Object = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{meta['name']}.{uuid.uuid4().hex[:16]}", "namespace": meta["namespace"]},
        "involvedObject": {
            "apiVersion": model["apiVersion"],
            "kind": model["kind"],
            "name": meta["name"],
            "namespace": meta["namespace"],
            "uid": meta["uid"],
        },
        "type": type_,
        "reason": reason,
        "message": message[:1024],
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "firstTimestamp": time,
        "lastTimestamp": time,
        "count": 1,
    }
    await client.create(EVENT, event)
