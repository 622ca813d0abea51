"""The spec of a ModelDeployment, field by field. The descriptions are what `kubectl explain` prints.

Rules that join fields are in `rules.py`."""

from typing import Annotated, Any, Literal

from pydantic import Field

from pagoda_guard.collector import ENDPOINT_PATTERN
from pagoda_operator.api.base import (
    ApiModel,
    DnsName,
    HostName,
    IntOrPercent,
    Labels,
    Quantity,
    ShapeOf,
    StringMap,
)
from pagoda_operator.api.batch import Batch
from pagoda_operator.api.gateway import Gateway
from pagoda_operator.api.objectives import Objectives
from pagoda_operator.api.pod import Image, LocalSecret, Pod
from pagoda_operator.api.resources import Resources
from pagoda_operator.api.scheduling import Scheduling
from pagoda_operator.api.service import ServiceSettings
from pagoda_operator.api.shapes import ScalingBehavior


class TokenSecretRef(ApiModel):
    name: DnsName = Field(description="Name of a Secret in the same namespace.")
    key: str = Field(
        default="token",
        pattern=r"^\.?[-_a-zA-Z0-9][-._a-zA-Z0-9]*$",
        max_length=253,
        description="The key of the Secret that holds the token.",
    )


class CacheClaim(ApiModel):
    size: Quantity = Field(description="Size of the claim, e.g. 50Gi; at least the size of the weights.")
    storage_class_name: DnsName | None = Field(
        default=None,
        description="StorageClass of the claim. Defaults to the cluster's default class.",
    )
    access_mode: Literal["ReadWriteOnce", "ReadWriteMany", "ReadWriteOncePod"] = Field(
        default="ReadWriteOnce",
        description="Access mode of the claim. Use ReadWriteMany when replicas run on more than one node.",
    )


class Cache(ApiModel):
    pvc: CacheClaim | None = Field(
        default=None, description="Creates a PersistentVolumeClaim and keeps the weights in it."
    )
    existing_claim: DnsName | None = Field(
        default=None, description="Keeps the weights in this existing claim of yours."
    )


class Model(ApiModel):
    uri: Annotated[str, Field(min_length=1, max_length=512)] = Field(
        description="Location of the model: hf://org/name or hf://org/name@revision (Hugging Face), pvc://claim/path "
        "(files in a claim of yours) or bundled://pagoda-tiny (a tiny model in the image, to try things "
        "out)."
    )
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/:-]*$", max_length=128)] | None = Field(
        default=None, description="Model name that clients send. Defaults to the name of the ModelDeployment."
    )
    token_secret_ref: TokenSecretRef | None = Field(default=None, description="Token for a private or gated model.")
    cache: Cache | None = Field(
        default=None, description="Where the weights are kept. By default each pod downloads them for itself."
    )


ToolParser = Literal[
    "auto",
    "none",
    "gpt_oss",
    "gemma4",
    "functiongemma",
    "deepseek_v3",
    "deepseek_v31",
    "deepseek_v32",
    "minimax_m2",
    "kimi_k2",
    "glm45",
    "seed_oss",
    "qwen3_xml",
    "nemotron_json",
    "mistral",
    "hermes",
    "pythonic",
    "llama3_json",
    "generic",
]
ReasoningParser = Literal["auto", "none", "gpt_oss", "seed_oss", "mistral", "gemma4", "think"]
"""NB: the server's names, which a test holds these to."""


class Engine(ApiModel):
    max_model_len: Annotated[int, Field(ge=16, le=10_000_000)] | None = Field(
        default=None,
        description="Maximum length of prompt plus answer, in tokens. Defaults to the model's own maximum.",
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto",
        description="Data type of the weights. auto is the model's own on a GPU, float32 on the CPU.",
    )
    quantization: Literal["none", "fp8"] = Field(
        default="none",
        description="Quantization of the weights. fp8 quantizes 16-bit weights while loading (on a GPU of compute "
        "capability 8.9 or higher, or slowly on the CPU). none takes them as the model stores them, which "
        "may be fp8 (compressed-tensors).",
    )
    kv_cache_dtype: Literal["auto", "fp8"] = Field(
        default="auto",
        description="Data type of the KV cache. auto is the same as dtype. fp8 takes half the memory, so twice as "
        "many tokens fit; the model's own scales are used where it has them.",
    )
    tensor_parallel: Annotated[int, Field(ge=1, le=64)] = Field(
        default=1,
        description="Number of GPUs of one node that the model is split across. It must divide the model's attention "
        "heads, key-value heads and intermediate size.",
    )
    nodes: Annotated[int, Field(ge=1, le=64)] | None = Field(
        default=None, description="Nodes per replica: 1. A replica on several nodes (LeaderWorkerSet) is not built yet."
    )
    max_num_seqs: Annotated[int, Field(ge=1, le=4096)] | None = Field(
        default=None, description="Maximum number of sequences that run at once. Defaults to the engine's choice."
    )
    max_batched_tokens: Annotated[int, Field(ge=16, le=1_048_576)] | None = Field(
        default=None, description="Maximum number of tokens per step. Defaults to the engine's choice."
    )
    gpu_memory_fraction: Annotated[float, Field(gt=0, le=0.98)] | None = Field(
        default=None,
        description="Fraction of the GPU's memory for weights and KV cache. Defaults to the engine's choice, about "
        "0.9.",
    )
    prefix_caching: bool = Field(default=True, description="Reuses the KV cache of prompts with a common prefix.")
    deterministic: bool = Field(
        default=False,
        description="Gives bit-identical answers to the same request and seed, whatever else runs. Slower; for 16-bit "
        "weights on one GPU.",
    )
    tool_parser: ToolParser = Field(
        default="auto",
        description="Notation in which the model writes calls of tools. auto is found by its chat template. none: "
        "calls are not looked for, and requests with tools are refused.",
    )
    reasoning_parser: ReasoningParser = Field(
        default="auto",
        description="Notation in which the model marks its reasoning. auto is found by its chat template. none: "
        "reasoning is not split from the answer.",
    )


class Autoscaling(ApiModel):
    min_replicas: Annotated[int, Field(ge=1, le=10_000)] = Field(default=1, description="Minimum number of replicas.")
    max_replicas: Annotated[int, Field(ge=1, le=10_000)] = Field(description="Maximum number of replicas.")
    target_utilization: Annotated[float, Field(ge=0.05, le=0.9)] = Field(
        default=0.7,
        description="Fraction of a replica's capacity to aim for. Above 0.9 the HPA's tolerance would prevent scaling "
        "up.",
    )
    tokens_per_second: Annotated[float, Field(gt=0, le=1e9)] | None = Field(
        default=None,
        description="Target load of a replica, in tokens per second. Defaults to targetUtilization times the measured "
        "capacity.",
    )
    backlog_drain_seconds: Annotated[int, Field(ge=1, le=3600)] = Field(
        default=15,
        description="Time in which waiting tokens should be worked off: demand includes them divided by this.",
    )
    behavior: Annotated[dict[str, Any], ShapeOf(ScalingBehavior)] | None = Field(
        default=None,
        description="Passed through as behavior of the HorizontalPodAutoscaler. By default it scales down slowly, "
        "with a window of 300 s.",
    )


class Queue(ApiModel):
    max_queued: Annotated[int, Field(ge=0, le=1_000_000)] = Field(
        default=256,
        description="Maximum number of sequences in a replica's queue; a request has n per prompt. Beyond it, "
        "requests get 429 with Retry-After.",
    )
    max_queued_tokens: Annotated[int, Field(ge=0, le=2_000_000_000)] = Field(
        default=1_000_000,
        description="Maximum number of tokens in a replica's queue. Beyond it, requests get 429 with Retry-After.",
    )
    max_wait_seconds: Annotated[int, Field(ge=1, le=86_400)] = Field(
        default=60,
        description="Maximum wait for a turn, in the queue and again in the engine. Beyond it, requests get 503 with "
        "Retry-After.",
    )


_SEGMENT = r"\.{0,2}[A-Za-z0-9_~-][A-Za-z0-9._~-]*"
PATH_PATTERN = rf"^/({_SEGMENT}(/{_SEGMENT})*/?)?$"
"""Without `//`, `.` and `..` as segments, which an Ingress may not have."""


class Ingress(ApiModel):
    host: HostName = Field(description="Host name, e.g. llm.example.com.")
    class_name: DnsName | None = Field(
        default=None, description="IngressClass. Defaults to the default class, or to the only one there is."
    )
    tls_secret_name: DnsName | None = Field(default=None, description="Secret that holds the host's TLS certificate.")
    path: Annotated[str, Field(pattern=PATH_PATTERN, max_length=256)] = Field(
        default="/v1",
        description="Path prefix to route; it is not rewritten. With / anybody can read /metrics and /load without a "
        "key.",
    )
    annotations: StringMap | None = Field(
        default=None,
        description="Annotations of the Ingress; they override those that the operator writes.",
    )


class Auth(ApiModel):
    api_keys_secret_ref: LocalSecret = Field(
        description="Secret of API keys: each entry's name is a tenant, and its value is the tenant's API key. "
        "Changes take effect without a restart."
    )


class Rollout(ApiModel):
    max_surge: IntOrPercent = Field(default=1, description="Maximum number of additional pods during a rollout.")
    max_unavailable: IntOrPercent = Field(default=0, description="Maximum number of unavailable pods during a rollout.")
    drain_seconds: Annotated[int, Field(ge=0, le=86_400)] = Field(
        default=120, description="How long a terminating pod may take to finish the requests it has accepted."
    )
    upgrade_policy: Literal["OnChange", "Immediately"] = Field(
        default="OnChange",
        description="When pods get the images of a new operator and what has changed in the profile: OnChange with "
        "your next change of the spec, Immediately at once.",
    )
    progress_deadline_seconds: Annotated[int, Field(ge=60, le=604_800)] | None = Field(
        default=None,
        description="How long a rollout may make no progress, such as a model that loads, until it counts as stuck. "
        "Defaults to 3600.",
    )


Interval = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,4}(s|m)$", max_length=8)]
Ports = Annotated[list[Annotated[int, Field(ge=1, le=65_535)]], Field(max_length=16)]


class Monitoring(ApiModel):
    enabled: bool = Field(
        default=True,
        description="Creates a PodMonitor and a PrometheusRule if the cluster has these kinds.",
    )
    objectives: Objectives | None = Field(
        default=None, description="What you promise of this model; alerts tell when a promise is about to be broken."
    )
    labels: Labels | None = Field(
        default=None,
        description="Labels by which your Prometheus selects monitors and rules, e.g. release: kube-prometheus-stack.",
    )
    interval: Interval | None = Field(default=None, description="Scrape interval, e.g. 30s. Defaults to 15s.")


class Tracing(ApiModel):
    enabled: bool = Field(default=True, description="Traces requests where there is an endpoint to send traces to.")
    endpoint: Annotated[str, Field(pattern=ENDPOINT_PATTERN, max_length=512)] | None = Field(
        default=None,
        description="Address of an OpenTelemetry collector that takes OTLP over HTTP, e.g. "
        "http://collector.observability:4318. Defaults to the operator's own setting; without either, nothing is "
        "traced.",
    )
    sampling_ratio: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None, description="Share of the requests that are traced. Defaults to the operator's own setting, 0.01."
    )
    follow_parent: bool = Field(
        default=False,
        description="Traces a request exactly when its traceparent header says that its caller traces it. Only where "
        "callers are trusted: whoever can send requests can then have all of theirs traced.",
    )


class NetworkPolicySpec(ApiModel):
    enabled: bool = Field(
        default=True,
        description="Creates a NetworkPolicy that allows only port 8000 in, and only DNS, downloads and traces out.",
    )
    egress_ports: Ports | None = Field(
        default=None,
        description="Further TCP ports out, e.g. of a proxy or a mirror; with them DNS is allowed too. Port 443 is "
        "allowed where the model is downloaded.",
    )


class DisruptionBudget(ApiModel):
    enabled: bool = Field(default=True, description="Creates a PodDisruptionBudget if there are two or more replicas.")


class Spec(ApiModel):
    model: Model = Field(description="The model to serve. Only model.uri is required.")
    engine: Engine = Field(
        default=Engine(), description="Settings of the inference engine; the defaults suit most models."
    )
    profile: DnsName | None = Field(
        default=None,
        description="Named set of resources, scheduling, variables and more, of the chart's value profiles. What "
        "stands in this spec goes before what the profile says.",
    )
    image: Image = Field(default=Image(), description="Images of the pods, and how they are pulled.")
    pod: Pod = Field(default=Pod(), description="Labels, variables, volumes and more of the pods.")
    resources: Resources = Field(default=Resources(), description="Resources of each replica.")
    replicas: Annotated[int, Field(ge=0, le=10_000)] | None = Field(
        default=None, description="Fixed number of replicas. Defaults to 1 without autoscaling."
    )
    autoscaling: Autoscaling | None = Field(
        default=None, description="Scales on tokens per second. Cannot be combined with replicas."
    )
    queue: Queue = Field(default=Queue(), description="The queue in front of each replica.")
    gateway: Gateway | None = Field(default=None, description="What each replica's gateway offers beside the API.")
    batch: Batch | None = Field(
        default=None,
        description="Serves /v1/files and /v1/batches: requests in files, run in the gaps that live requests leave.",
    )
    service: ServiceSettings = Field(default=ServiceSettings(), description="The Service in front of the replicas.")
    ingress: Ingress | None = Field(
        default=None, description="Makes the endpoint reachable from outside the cluster, through nginx."
    )
    auth: Auth | None = Field(
        default=None,
        description="Requires an API key. Without it, anybody who can reach the Service can send requests.",
    )
    rollout: Rollout = Field(default=Rollout(), description="How changes are rolled out to the pods.")
    scheduling: Scheduling = Field(default=Scheduling(), description="Where the pods run.")
    monitoring: Monitoring = Field(default=Monitoring(), description="Objects for the Prometheus operator.")
    tracing: Tracing | None = Field(
        default=None,
        description="Traces of requests, through the gateway and the engine, for an OpenTelemetry collector.",
    )
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
