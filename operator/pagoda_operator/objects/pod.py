"""The pod template: `fetch` brings the weights, `gateway` (a native sidecar) admits requests, `server` answers them.

The sidecar's probes speak for the pod: its /ready is true only when the server behind the socket is ready, and it
outlives the server while the pod drains. The server's liveness is its process: it exits when its engine is gone."""

from pagoda_operator.api import ModelDeployment
from pagoda_operator.kube.objects import Object
from pagoda_operator.objects.batch import build_batch_environment, build_batch_flags, build_batch_mounts
from pagoda_operator.objects.gateway import PORT, SOCKET, build_gateway_command
from pagoda_operator.objects.labels import labels
from pagoda_operator.objects.resources import (
    build_resource_claims,
    fetch_resources,
    gateway_resources,
    server_resources,
)
from pagoda_operator.objects.security import build_container_security_context, build_pod_security_context
from pagoda_operator.objects.settings import BuildSettings
from pagoda_operator.objects.tracing import build_environment, build_gateway_flags, build_server_flags
from pagoda_operator.objects.volumes import (
    API_KEYS_PATH,
    MODELS_PATH,
    build_further_mounts,
    build_models_mount,
    build_scratch_mounts,
    build_volumes,
    shared_memory_size,
)

GRACE_AFTER_DRAIN_SECONDS = 30
STARTUP_SECONDS = 120
SERVER_ENV: list[Object] = [
    {"name": "HF_HUB_OFFLINE", "value": "1"},
    {"name": "HF_HOME", "value": "/tmp/huggingface"},
    {"name": "TRITON_CACHE_DIR", "value": "/tmp/triton"},
]


def build_pod_template(mdep: ModelDeployment, settings: BuildSettings) -> Object:
    wanted = mdep.spec.pod
    metadata: Object = {"labels": {**(wanted.labels or {}), **labels(mdep)}}
    if wanted.annotations:
        metadata["annotations"] = wanted.annotations
    return {"metadata": metadata, "spec": _pod_spec(mdep, settings)}


def _pod_spec(mdep: ModelDeployment, settings: BuildSettings) -> Object:
    spec: Object = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": build_pod_security_context(settings.user_id),
        "terminationGracePeriodSeconds": mdep.spec.rollout.drain_seconds + GRACE_AFTER_DRAIN_SECONDS,
        "initContainers": [_fetch(mdep, settings), _gateway(mdep, settings)],
        "containers": [_server(mdep, settings)],
        "volumes": build_volumes(mdep, settings),
        **_scheduling(mdep),
    }
    further: Object = {
        "imagePullSecrets": _pull_secrets(mdep, settings),
        "serviceAccountName": mdep.spec.pod.service_account_name,
        "resourceClaims": build_resource_claims(mdep),
    }
    return spec | {key: value for key, value in further.items() if value}


def _pull_secrets(mdep: ModelDeployment, settings: BuildSettings) -> list[Object]:
    own = (secret.name for secret in mdep.spec.image.pull_secrets or [])
    return [{"name": name} for name in dict.fromkeys((*settings.image_pull_secrets, *own))]


def _container(name: str, image: str, mdep: ModelDeployment, settings: BuildSettings) -> Object:
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": mdep.spec.image.pull_policy or settings.image_pull_policy,
        "securityContext": build_container_security_context(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def _fetch(mdep: ModelDeployment, settings: BuildSettings) -> Object:
    env: list[Object] = [{"name": "HF_HOME", "value": "/tmp/huggingface"}]
    token = mdep.spec.model.token_secret_ref
    if token is not None:
        env.append({"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": token.name, "key": token.key}}})
    mounts = [build_models_mount(mdep, read_only=False), {"name": "tmp", "mountPath": "/tmp"}]
    return {
        **_container("fetch", settings.control_image, mdep, settings),
        "command": ["pagoda", "fetch", mdep.spec.model.uri, MODELS_PATH],
        **_environment(mdep, env),
        "resources": fetch_resources(mdep, settings),
        "volumeMounts": mounts + build_further_mounts(mdep),
    }


def _environment(mdep: ModelDeployment, own: list[Object]) -> Object:
    """Returns env and envFrom. NB: where a Secret or a ConfigMap has a variable of ours, ours goes before it."""
    wanted = mdep.spec.pod
    found: Object = {"env": own + [variable.to_object() for variable in wanted.env or []]}
    return found | ({"envFrom": [source.to_object() for source in wanted.env_from]} if wanted.env_from else {})


def _gateway(mdep: ModelDeployment, settings: BuildSettings) -> Object:
    mounts = build_scratch_mounts()
    startup_seconds = mdep.spec.pod.startup_seconds or STARTUP_SECONDS
    if mdep.spec.auth is not None:
        mounts.append({"name": "api-keys", "mountPath": API_KEYS_PATH, "readOnly": True})
    environment = build_environment(mdep, settings) + build_batch_environment(mdep)
    return {
        **_container("gateway", settings.control_image, mdep, settings),
        "restartPolicy": "Always",
        "command": build_gateway_command(mdep) + build_batch_flags(mdep) + build_gateway_flags(mdep, settings),
        **({"env": environment} if environment else {}),
        "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        "readinessProbe": _http_probe("/ready", period_seconds=2, failure_threshold=2),
        "livenessProbe": _http_probe("/health", period_seconds=10, failure_threshold=6),
        "startupProbe": _http_probe("/health", period_seconds=1, failure_threshold=startup_seconds),
        "resources": gateway_resources(),
        "volumeMounts": mounts + build_batch_mounts(mdep),
    }


def _http_probe(path: str, *, period_seconds: int, failure_threshold: int) -> Object:
    return {
        "httpGet": {"path": path, "port": PORT, "scheme": "HTTP"},
        "periodSeconds": period_seconds,
        "timeoutSeconds": 5,
        "failureThreshold": failure_threshold,
    }


def _server(mdep: ModelDeployment, settings: BuildSettings) -> Object:
    mounts = [build_models_mount(mdep, read_only=True), *build_scratch_mounts()]
    if shared_memory_size(mdep) is not None:
        mounts.append({"name": "shm", "mountPath": "/dev/shm"})
    drain = ["python", "-m", "pagoda_server", "drain", "--seconds", str(mdep.spec.rollout.drain_seconds)]
    return {
        **_container("server", mdep.spec.image.server or settings.server_image, mdep, settings),
        "command": _server_command(mdep) + build_server_flags(mdep, settings),
        **_environment(mdep, [*SERVER_ENV, *build_environment(mdep, settings)]),
        "lifecycle": {"preStop": {"exec": {"command": drain}}},
        "resources": server_resources(mdep),
        "volumeMounts": mounts + build_further_mounts(mdep),
    }


def _server_command(mdep: ModelDeployment) -> list[str]:
    engine = mdep.spec.engine
    command = ["python", "-m", "pagoda_server", "serve", "--model", MODELS_PATH]
    command += ["--served-model-name", mdep.served_model_name, "--socket", SOCKET]
    command += ["--namespace", mdep.namespace, "--model-deployment", mdep.name]
    command += ["--device", "cuda" if mdep.spec.gpus > 0 else "cpu", "--dtype", engine.dtype]
    command += ["--quantization", engine.quantization, "--kv-cache-dtype", engine.kv_cache_dtype]
    command += ["--tensor-parallel", str(engine.tensor_parallel)] if engine.tensor_parallel > 1 else []
    for flag, value in (
        ("--max-model-len", engine.max_model_len),
        ("--max-num-seqs", engine.max_num_seqs),
        ("--max-batched-tokens", engine.max_batched_tokens),
        ("--gpu-memory-fraction", engine.gpu_memory_fraction),
        ("--max-wait-seconds", mdep.spec.queue.max_wait_seconds),
    ):
        command += [flag, str(value)] if value is not None else []
    command += ["--tool-parser", engine.tool_parser] if engine.tool_parser != "auto" else []
    command += ["--reasoning-parser", engine.reasoning_parser] if engine.reasoning_parser != "auto" else []
    command += [] if engine.prefix_caching else ["--no-prefix-caching"]
    return command + (["--deterministic"] if engine.deterministic else [])


def _scheduling(mdep: ModelDeployment) -> Object:
    wanted = mdep.spec.scheduling
    fields: Object = {
        "nodeSelector": wanted.node_selector,
        "tolerations": [t.to_object() for t in wanted.tolerations or []],
        "affinity": wanted.affinity,
        "priorityClassName": wanted.priority_class_name,
        "runtimeClassName": wanted.runtime_class_name,
        "schedulerName": wanted.scheduler_name,
        "topologySpreadConstraints": [
            {"labelSelector": {"matchLabels": labels(mdep)}, **spread} for spread in wanted.topology_spread or []
        ],
    }
    return {key: value for key, value in fields.items() if value}
