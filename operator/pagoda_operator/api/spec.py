"""The spec of a ModelDeployment, field by field. The descriptions are what `kubectl explain` prints.

Rules that join fields are in `rules.py`."""

from typing import Annotated, Any, Literal

from pydantic import Field

from pagoda_operator.api.base import (
    LABEL_KEY_PATTERN,
    ApiModel,
    DnsName,
    HostName,
    IntOrPercent,
    Labels,
    LabelValue,
    Quantity,
    ShapeOf,
    StringMap,
)
from pagoda_operator.api.shapes import Affinity, ScalingBehavior, TopologySpread


class LocalSecret(ApiModel):
    name: DnsName = Field(description="Name of a Secret in the same namespace.")


class TokenSecretRef(ApiModel):
    name: DnsName = Field(description="Name of a Secret in the same namespace.")
    key: str = Field(
        default="token",
        pattern=r"^\.?[-_a-zA-Z0-9][-._a-zA-Z0-9]*$",
        max_length=253,
        description="The key of the Secret that holds the token.",
    )


class CacheClaim(ApiModel):
    size: Quantity = Field(description="How much to ask for, e.g. 50Gi. At least the size of the weights.")
    storage_class_name: DnsName | None = Field(
        default=None,
        description="StorageClass; absent: the cluster's default class.",
    )
    access_mode: Literal["ReadWriteOnce", "ReadWriteMany", "ReadWriteOncePod"] = Field(
        default="ReadWriteOnce", description="Use ReadWriteMany when replicas run on more than one node."
    )


class Cache(ApiModel):
    pvc: CacheClaim | None = Field(default=None, description="Make a PersistentVolumeClaim and keep the weights in it.")
    existing_claim: DnsName | None = Field(default=None, description="Keep the weights in this claim, which you made.")


class Model(ApiModel):
    uri: Annotated[str, Field(min_length=1, max_length=512)] = Field(
        description="Where the model is: hf://org/name or hf://org/name@revision (Hugging Face), pvc://claim/path "
        "(files in a claim of yours), bundled://pagoda-tiny (the tiny model in the image, to try things out)."
    )
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/:-]*$", max_length=128)] | None = Field(
        default=None, description="The model name that clients send. Absent: the name of the ModelDeployment."
    )
    token_secret_ref: TokenSecretRef | None = Field(default=None, description="The token for a private or gated model.")
    cache: Cache | None = Field(
        default=None, description="Where the weights stay. Absent or {}: in the pod, fetched again by each new pod."
    )


class Engine(ApiModel):
    max_model_len: Annotated[int, Field(ge=16, le=10_000_000)] | None = Field(
        default=None, description="Longest prompt plus answer, in tokens. Absent: what the model says."
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(default="auto", description="Type of the weights.")
    quantization: Literal["none", "fp8"] = Field(
        default="none",
        description="Quantization of the weights. fp8: 16-bit weights are quantized as they load (a GPU of compute "
        "capability 8.9 or higher, or the CPU, slowly). none: as the model stores them, which may be fp8 "
        "(compressed-tensors).",
    )
    kv_cache_dtype: Literal["auto", "fp8"] = Field(
        default="auto",
        description="Type of the KV cache. auto: as dtype. fp8: half of that, so twice as many tokens fit, with the "
        "model's own scales where it brings them.",
    )
    tensor_parallel: Annotated[int, Field(ge=1, le=64)] = Field(
        default=1,
        description="GPUs of one node that the model is divided over. It must divide the model's attention heads, "
        "key-value heads and intermediate size.",
    )
    max_num_seqs: Annotated[int, Field(ge=1, le=4096)] | None = Field(
        default=None, description="Most requests that run at once. Absent: the engine chooses."
    )
    max_batched_tokens: Annotated[int, Field(ge=16, le=1_048_576)] | None = Field(
        default=None, description="Most tokens in one step. Absent: the engine chooses."
    )
    gpu_memory_fraction: Annotated[float, Field(gt=0, le=0.98)] | None = Field(
        default=None,
        description="Share of the GPU's memory for weights and KV cache. Absent: the engine's own, about 0.9.",
    )
    prefix_caching: bool = Field(default=True, description="Reuse the KV pages of prompts that begin alike.")
    deterministic: bool = Field(
        default=False,
        description="The same tokens for the same request and seed, to the bit, whatever runs beside it. Slower; for "
        "16-bit weights on one GPU.",
    )


class Resources(ApiModel):
    gpus: Annotated[int, Field(ge=0, le=64)] | None = Field(
        default=None,
        description="GPUs a replica, as many as engine.tensorParallel; 0 runs on the CPU. Absent: "
        "engine.tensorParallel, but 0 for a bundled:// model that is not divided.",
    )
    gpu_resource: Annotated[str, Field(pattern=r"^[a-z0-9.-]+/[A-Za-z0-9._-]+$", max_length=128)] = Field(
        default="nvidia.com/gpu", description="The extended resource that the GPUs are asked by."
    )
    cpu: Quantity | None = Field(default=None, description="CPU request of the server, e.g. 4. Absent: 1.")
    memory: Quantity | None = Field(
        default=None,
        description="Memory request and limit of the server, e.g. 16Gi. Absent: 2Gi, at most 32Gi a GPU.",
    )


class Autoscaling(ApiModel):
    min_replicas: Annotated[int, Field(ge=1, le=10_000)] = Field(default=1, description="Fewest replicas.")
    max_replicas: Annotated[int, Field(ge=1, le=10_000)] = Field(description="Most replicas.")
    target_utilization: Annotated[float, Field(ge=0.05, le=0.9)] = Field(
        default=0.7,
        description="Share of a replica's capacity to aim at. Above 0.9 the HPA's tolerance would stop scaling up.",
    )
    tokens_per_second: Annotated[float, Field(gt=0, le=1e9)] | None = Field(
        default=None,
        description="Tokens per second a replica is to carry. Absent: targetUtilization of the measured capacity.",
    )
    backlog_drain_seconds: Annotated[int, Field(ge=1, le=3600)] = Field(
        default=15, description="Waiting tokens count as demand, divided by this many seconds."
    )
    behavior: Annotated[dict[str, Any], ShapeOf(ScalingBehavior)] | None = Field(
        default=None,
        description="behavior of the HorizontalPodAutoscaler, as it is. Absent: scale down slowly (300 s).",
    )


class Queue(ApiModel):
    max_queued: Annotated[int, Field(ge=0, le=1_000_000)] = Field(
        default=256,
        description="Most sequences that wait in a replica's queue: a request has n for each of its prompts. The next "
        "request gets 429 with Retry-After.",
    )
    max_queued_tokens: Annotated[int, Field(ge=0, le=2_000_000_000)] = Field(
        default=1_000_000, description="Most tokens that wait in a replica; the next request gets 429 with Retry-After."
    )
    max_wait_seconds: Annotated[int, Field(ge=1, le=86_400)] = Field(
        default=60,
        description="Longest wait for a turn, in the queue and in the engine each; then 503 with Retry-After.",
    )


_SEGMENT = r"\.{0,2}[A-Za-z0-9_~-][A-Za-z0-9._~-]*"
PATH_PATTERN = rf"^/({_SEGMENT}(/{_SEGMENT})*/?)?$"
"""Without `//`, `.` and `..` as segments, which an Ingress may not have."""


class Ingress(ApiModel):
    host: HostName = Field(description="Host name, e.g. llm.example.com.")
    class_name: DnsName | None = Field(
        default=None, description="IngressClass. Absent: the default one, or the only one there is."
    )
    tls_secret_name: DnsName | None = Field(default=None, description="Secret with the certificate of the host.")
    path: Annotated[str, Field(pattern=PATH_PATTERN, max_length=256)] = Field(
        default="/v1",
        description="Path prefix to route, not rewritten. With / anybody can read /metrics and /load, without a key.",
    )
    annotations: StringMap | None = Field(
        default=None,
        description="Laid over the annotations that the operator writes.",
    )


class Auth(ApiModel):
    api_keys_secret_ref: LocalSecret = Field(
        description="Secret of API keys: each key of the Secret names a tenant and its value is the API key. Read "
        "again when it changes, without a restart."
    )


class Rollout(ApiModel):
    max_surge: IntOrPercent = Field(default=1, description="Pods above the wanted number in a roll-out.")
    max_unavailable: IntOrPercent = Field(default=0, description="Pods that may be missing in a roll-out.")
    drain_seconds: Annotated[int, Field(ge=0, le=86_400)] = Field(
        default=120, description="How long a stopping pod finishes what it has begun."
    )
    upgrade_policy: Literal["OnChange", "Immediately"] = Field(
        default="OnChange",
        description="When pods take up the images of a new operator: with your next change, or at once.",
    )


class Toleration(ApiModel):
    key: Annotated[str, Field(pattern=LABEL_KEY_PATTERN + "|^$", max_length=317)] | None = Field(
        default=None,
        description="Taint key; absent with Exists: all.",
    )
    operator: Literal["Exists", "Equal"] | None = Field(default=None, description="Exists or Equal (default).")
    value: LabelValue | None = Field(default=None, description="Taint value for Equal.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None,
        description="Absent: all.",
    )
    toleration_seconds: Annotated[int, Field(ge=-(2**53), le=2**53)] | None = Field(
        default=None, description="How long NoExecute is tolerated."
    )


class Scheduling(ApiModel):
    node_selector: Labels | None = Field(default=None, description="Labels that the node must have.")
    tolerations: Annotated[list[Toleration], Field(max_length=32)] | None = Field(
        default=None, description="Taints of nodes that the pods accept."
    )
    affinity: Annotated[dict[str, Any], ShapeOf(Affinity)] | None = Field(
        default=None, description="affinity of the pods, as in a PodSpec."
    )
    priority_class_name: DnsName | None = Field(default=None, description="PriorityClass of the pods.")
    topology_spread: Annotated[list[Annotated[dict[str, Any], ShapeOf(TopologySpread)]], Field(max_length=8)] | None = (
        Field(
            default=None, description="topologySpreadConstraints of the pods; an absent labelSelector means these pods."
        )
    )
    runtime_class_name: DnsName | None = Field(default=None, description="RuntimeClass of the pods, e.g. nvidia.")


class Monitoring(ApiModel):
    enabled: bool = Field(
        default=True,
        description="Make a PodMonitor and a PrometheusRule where the cluster has these kinds.",
    )


class NetworkPolicySpec(ApiModel):
    enabled: bool = Field(default=True, description="Let in port 8000 only, and let out DNS and downloads only.")


class DisruptionBudget(ApiModel):
    enabled: bool = Field(default=True, description="Make a PodDisruptionBudget when there are two or more replicas.")


class Spec(ApiModel):
    model: Model = Field(description="What to serve. model.uri is all that a ModelDeployment needs.")
    engine: Engine = Field(default=Engine(), description="Settings of the inference engine; the defaults suit most.")
    resources: Resources = Field(default=Resources(), description="What a replica gets.")
    replicas: Annotated[int, Field(ge=0, le=10_000)] | None = Field(
        default=None, description="A fixed number of replicas. Absent, and without autoscaling: 1."
    )
    autoscaling: Autoscaling | None = Field(default=None, description="Scale on tokens per second. Not with replicas.")
    queue: Queue = Field(default=Queue(), description="The queue before each replica.")
    ingress: Ingress | None = Field(default=None, description="Make the endpoint reachable from outside, by nginx.")
    auth: Auth | None = Field(
        default=None,
        description="Ask for an API key. Absent: anybody who reaches the Service may ask.",
    )
    rollout: Rollout = Field(default=Rollout(), description="How changes reach the pods.")
    scheduling: Scheduling = Field(default=Scheduling(), description="Where the pods may run.")
    monitoring: Monitoring = Field(default=Monitoring(), description="Objects for the Prometheus operator.")
    network_policy: NetworkPolicySpec = Field(default=NetworkPolicySpec(), description="The NetworkPolicy of the pods.")
    disruption_budget: DisruptionBudget = Field(default=DisruptionBudget(), description="The PodDisruptionBudget.")

    @property
    def gpus(self) -> int:
        """Returns the GPUs per replica, with the default that depends on the model."""
        if self.resources.gpus is not None:
            return self.resources.gpus
        ranks = self.engine.tensor_parallel
        return 0 if self.model.uri.startswith("bundled://") and ranks == 1 else ranks

    @property
    def fixed_replicas(self) -> int | None:
        """Returns the number of replicas that we write; None when the HPA writes it."""
        if self.autoscaling is not None:
            return None
        return 1 if self.replicas is None else self.replicas
