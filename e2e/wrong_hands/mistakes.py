"""The table of typical mistakes: what was written, what the status says of it, and what `pagoda why` must print.

A row is a ModelDeployment that somebody applied. All rows are applied at once, into one namespace.
"""

from dataclasses import dataclass
from typing import Any

HUB = "hf://no-such-organization/no-such-model"
SLOW = 240.0
"""Seconds until a crash or a download has failed often enough to be told apart from a start, on two busy cores."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """`cause` are words of what is wrong; `step` is a command or a field that mends it, as `why` prints it.

    `{ns}` stands for the namespace. `ready` and `reason` are those that `kubectl get mdep` shows.
    """

    name: str
    spec: dict[str, Any]
    reason: str
    cause: tuple[str, ...]
    step: str
    ready: str = "False"
    column: str = ""
    """The column REASON, where it is not `reason`."""


def ingress(host: str, **more: Any) -> dict[str, Any]:
    return {"ingress": {"host": host, "className": "nginx", **more}, "replicas": 0}


def from_hub(**more: Any) -> dict[str, Any]:
    """A model of the hub on a node without a GPU: what is wrong is found before anything is downloaded."""
    return {"model": {"uri": HUB, **more}, "resources": {"gpus": 0, "cpu": "50m"}}


SECRETS = (
    Mistake(
        "keyless",
        {"auth": {"apiKeysSecretRef": {"name": "no-such-keys"}}},
        "SecretNotFound",
        ("no-such-keys", "does not exist"),
        "kubectl -n {ns} create secret generic no-such-keys --from-literal=TENANT=KEY",
    ),
    Mistake(
        "tokenless",
        from_hub(tokenSecretRef={"name": "no-such-token"}),
        "SecretNotFound",
        ("no-such-token", "does not exist"),
        "kubectl -n {ns} create secret generic no-such-token --from-literal=token=TOKEN",
    ),
    Mistake(
        "wrong-key-name",
        from_hub(tokenSecretRef={"name": "hub", "key": "token"}),
        "ConfigMissing",
        ("key token", "Secret", "hub"),
        "kubectl -n {ns} patch secret hub",
    ),
)
WAY_IN = (
    Mistake(
        "classless",
        {"ingress": {"host": "classless.example.com", "className": "no-such-class"}, "replicas": 0},
        "NoIngressClass",
        ("no-such-class", "spec.ingress.className", "nginx"),
        "kubectl get ingressclass",
    ),
    Mistake(
        "foreign-host",
        ingress("bank.example"),
        "IngressNotAllowed",
        ("spec.ingress.host bank.example is not allowed", "example.com"),
        "kubectl -n {ns} edit mdep foreign-host",
    ),
    Mistake(
        "late-host",
        ingress("taken.example.com"),
        "HostTaken",
        ("taken.example.com", "first-host"),
        "kubectl -n {ns} edit mdep late-host",
    ),
    Mistake(
        "no-certificate",
        ingress("no-certificate.example.com", tlsSecretName="no-such-tls"),
        "CertificateMissing",
        ("no-such-tls", "spec.ingress.tlsSecretName"),
        "kubectl -n {ns} create secret tls no-such-tls --cert=FILE --key=FILE",
        ready="True",
        column="ScaledToZero",
    ),
    Mistake(
        "taken",
        {"replicas": 0},
        "NameTaken",
        ("Service taken", "does not belong"),
        "kubectl -n {ns} get service taken",
    ),
)
STORAGE = (
    Mistake(
        "storage",
        from_hub(cache={"pvc": {"size": "1Gi", "storageClassName": "no-such-storage"}}),
        "NoStorageClass",
        ("no-such-storage",),
        "kubectl get storageclass",
    ),
    Mistake(
        "unbound",
        from_hub(cache={"pvc": {"size": "1Gi", "storageClassName": "e2e-nobody-provisions"}}),
        "Unschedulable",
        ("PersistentVolumeClaim",),
        "kubectl -n {ns} describe pvc unbound-models",
    ),
    Mistake(
        "claimless",
        from_hub(cache={"existingClaim": "no-such-claim"}),
        "Unschedulable",
        ("no-such-claim",),
        "spec.model.cache.existingClaim",
    ),
)
NODES = (
    Mistake(
        "greedy",
        {"engine": {"tensorParallel": 8}},
        "Unschedulable",
        ("nvidia.com/gpu", "it asks for 8"),
        "spec.engine.tensorParallel",
    ),
    Mistake(
        "no-gpu-nodes",
        {"resources": {"gpus": 1, "cpu": "50m", "gpuResource": "example.com/gpu"}},
        "Unschedulable",
        ("example.com/gpu",),
        "spec.resources.gpuResource",
    ),
    Mistake(
        "huge",
        {"resources": {"cpu": "50m", "memory": "4Ti"}},
        "Unschedulable",
        ("memory", "4Ti"),
        "spec.resources.memory",
    ),
    Mistake(
        "nowhere",
        {"scheduling": {"nodeSelector": {"example.com/pool": "no-such-pool"}}},
        "Unschedulable",
        ("node affinity/selector",),
        "spec.scheduling",
    ),
)
SERVER = (
    Mistake(
        "small",
        {"resources": {"cpu": "100m", "memory": "100Mi"}},
        "OutOfMemory",
        ("100Mi", "spec.resources.memory"),
        """kubectl -n {ns} patch mdep small --type merge -p '{{"spec":{{"resources":{{"memory":"200Mi"}}}}}}'""",
    ),
    Mistake(
        "long",
        {"engine": {"maxModelLen": 1000000}},
        "CrashLooping",
        ("max_model_len", "1000000"),
        "spec.engine.maxModelLen",
    ),
)
MODEL = (
    Mistake(
        "misspelt",
        {"model": {"uri": "bundled://no-such-model"}},
        "ModelNotFound",
        ("bundled://no-such-model",),
        "spec.model.uri",
    ),
    Mistake(
        "unreachable",
        from_hub(),
        "ModelDownloadFailed",
        (HUB,),
        "pagoda logs unreachable -n {ns} -c fetch",
    ),
)
VALUES = (
    Mistake(
        "foreign-image",
        {"image": {"server": "registry.example/server:1"}, "replicas": 0},
        "NotAllowed",
        ("spec.image.server", "registry.example/server:1", "is not allowed"),
        "models.allowed.images",
    ),
    Mistake(
        "foreign-variable",
        {"pod": {"env": [{"name": "LD_PRELOAD", "value": "/x.so"}]}, "replicas": 0},
        "NotAllowed",
        ("spec.pod.env", "LD_PRELOAD", "is not allowed"),
        "models.allowed.env",
    ),
    Mistake(
        "unknown-profile",
        {"profile": "no-such-profile", "replicas": 0},
        "InvalidSpec",
        ("spec.profile", "no-such-profile"),
        "kubectl -n {ns} edit mdep unknown-profile",
    ),
    Mistake(
        "wrong-tag",
        {"image": {"server": "192.0.2.1:5000/pagoda-server:no-such-tag"}},
        "ImagePullFailed",
        ("no-such-tag",),
        "spec.image.server",
    ),
)
MISTAKES = (*SECRETS, *WAY_IN, *STORAGE, *NODES, *SERVER, *MODEL, *VALUES)
