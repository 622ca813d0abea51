"""Models as a cluster shows them, for the tool's screens: one that serves, and ways in which one does not."""

from datetime import UTC, datetime
from typing import Any

from pagoda_cli.diagnosis.observed import Observed, PodLoad

NOW = datetime(2027, 1, 31, 12, 0, 0, tzinfo=UTC)
Object = dict[str, Any]


def condition(type_: str, status: str, reason: str, message: str = "", at: str = "2027-01-31T11:00:00Z") -> Object:
    return {"type": type_, "status": status, "reason": reason, "message": message, "lastTransitionTime": at}


def build_model(*conditions: Object, spec: Object | None = None, **status: Any) -> Object:
    meta = {
        "name": "chat",
        "namespace": "models",
        "uid": "uid-chat",
        "generation": 3,
        "creationTimestamp": "2027-01-29T12:00:00Z",
    }
    return {
        "apiVersion": "pagoda.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": meta,
        "spec": {"model": {"uri": "hf://org/model@main"}, **(spec or {})},
        "status": {"observedGeneration": 3, "conditions": list(conditions), **status},
    }


def build_pod(name: str, *, ready: bool = True, revision: str = "aaaa", **more: Any) -> Object:
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": f"chat-{revision}", "controller": True}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "models",
            "uid": f"uid-{name}",
            "creationTimestamp": "2027-01-31T10:00:00Z",
            "labels": {"pod-template-hash": revision, "pagoda.dev/model-deployment": "chat"},
            "ownerReferences": [owner],
        },
        "spec": {"nodeName": "node-1", "containers": [{"name": "server"}], **more.pop("spec", {})},
        "status": {
            "phase": "Running" if ready else "Pending",
            "conditions": [{"type": "Ready", "status": str(ready)}],
            **more,
        },
    }


def build_event(reason: str, message: str, *, about: str = "chat-aaaa-1", type_: str = "Warning") -> Object:
    return {
        "metadata": {"name": reason.lower(), "namespace": "models"},
        "type": type_,
        "reason": reason,
        "message": message,
        "count": 4,
        "lastTimestamp": "2027-01-31T11:58:00Z",
        "involvedObject": {"kind": "Pod", "name": about, "uid": f"uid-{about}"},
    }


def build_replica_set(revision: str, number: int, ready: int, replicas: int) -> Object:
    meta = {
        "name": f"chat-{revision}",
        "labels": {"pod-template-hash": revision},
        "annotations": {"deployment.kubernetes.io/revision": str(number)},
    }
    return {"metadata": meta, "status": {"readyReplicas": ready, "replicas": replicas}}


def build_healthy() -> Observed:
    mdep = build_model(
        condition("Ready", "True", "Serving", "2 of 2 replicas are ready"),
        condition("PodsReady", "True", "AllReady"),
        condition("Scaling", "True", "ScalingActive"),
        condition("Progressing", "False", "Complete", "every replica is up to date"),
        readyReplicas=2,
        replicas=2,
        url="http://chat.models.svc:8000/v1",
        revision="0123456789",
        load={"tokensPerSecond": 1200.0},
        capacity={"tokensPerSecond": 1500.0, "source": "observed"},
    )
    return Observed(
        mdep=mdep,
        deployment={"spec": {"replicas": 2}, "metadata": {}},
        replica_sets=(build_replica_set("aaaa", 1, 2, 2),),
        pods=(build_pod("chat-aaaa-1"), build_pod("chat-aaaa-2")),
        hpa={"spec": {"minReplicas": 1, "maxReplicas": 4}, "status": {"currentReplicas": 2, "desiredReplicas": 3}},
        loads={"chat-aaaa-1": PodLoad(600.0, 3, 1200, 8), "chat-aaaa-2": PodLoad(600.0, 1, 400, 8)},
    )


def build_out_of_memory() -> Observed:
    message = "server of chat-aaaa-1 was killed at its memory limit of 16Gi: raise spec.resources.memory"
    ended = {"exitCode": 137, "reason": "OOMKilled", "message": ""}
    server = {"name": "server", "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
    limits = {"name": "server", "resources": {"limits": {"memory": "16Gi"}}}
    pod = build_pod(
        "chat-aaaa-1",
        ready=False,
        spec={"containers": [limits]},
        containerStatuses=[{**server, "lastState": {"terminated": ended}}],
    )
    return Observed(
        mdep=build_model(
            condition("Ready", "False", "OutOfMemory", message),
            condition("PodsReady", "False", "OutOfMemory", message),
            condition("Stalled", "True", "OutOfMemory", message),
            readyReplicas=0,
            replicas=1,
        ),
        pods=(pod,),
        events=(build_event("BackOff", "Back-off restarting failed container"),),
        logs={("chat-aaaa-1", "server"): "loading shard 3 of 4\n\nallocating the cache\n"},
    )
