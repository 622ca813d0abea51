"""What the operator writes into a pod, and what `pagoda run` makes of it, are commands that their programs read."""

from pathlib import Path
from typing import Any

from pagoda_cli.local.plan import Addresses, Folders, plan_replica
from pagoda_gateway.__main__ import build_parser as build_gateway_parser
from pagoda_gateway.settings import Address, InheritedSocket
from pagoda_gateway.settings import Settings as GatewaySettings
from pagoda_guard.flags import read_settings
from pagoda_operator.api import ModelDeployment
from pagoda_operator.objects.pod import build_pod_template
from pagoda_operator.objects.settings import BuildSettings
from pagoda_server.__main__ import build_parser as build_server_parser
from pagoda_server.process.command_lines import read_server
from pagoda_server.settings import DrainSettings

SPEC = {
    "model": {"uri": "hf://a/b", "name": "public"},
    "engine": {
        "dtype": "bfloat16",
        "quantization": "fp8",
        "kvCacheDtype": "fp8",
        "maxModelLen": 1024,
        "maxNumSeqs": 8,
        "maxBatchedTokens": 512,
        "gpuMemoryFraction": 0.5,
        "tensorParallel": 2,
        "prefixCaching": False,
    },
    "queue": {"maxQueued": 7, "maxQueuedTokens": 1000, "maxWaitSeconds": 9},
    "autoscaling": {"maxReplicas": 2, "backlogDrainSeconds": 11},
    "auth": {"apiKeysSecretRef": {"name": "keys"}},
    "gateway": {
        "chatPage": True,
        "cors": {"allowedOrigins": ["https://a.example", "http://localhost:3000"]},
        "keptResponses": {"count": 5, "seconds": 60},
    },
    "rollout": {"drainSeconds": 33},
}


def build_pod() -> dict[str, Any]:
    raw = {"apiVersion": "pagoda.dev/v1alpha1", "kind": "ModelDeployment"}
    mdep = ModelDeployment.model_validate({**raw, "metadata": {"name": "chat", "namespace": "team"}, "spec": SPEC})
    pod: dict[str, Any] = build_pod_template(mdep, BuildSettings("control:1", "server:1"))["spec"]
    return pod


def read_gateway(command: list[str]) -> GatewaySettings:
    assert command[1:3] == ["-m", "pagoda_gateway"]
    return read_settings(GatewaySettings, build_gateway_parser().parse_args(command[3:]))


def test_the_gateway_is_told_what_the_spec_says() -> None:
    _, gateway = build_pod()["initContainers"]
    assert read_gateway(gateway["command"]) == GatewaySettings(
        listen=Address("0.0.0.0", 8000),
        admin=Address("127.0.0.1", 8001),
        upstream=Path("/run/pagoda/server.sock"),
        model_name="public",
        namespace="team",
        model_deployment="chat",
        max_queued=7,
        max_queued_tokens=1000,
        max_wait_seconds=9,
        backlog_drain_seconds=11,
        api_keys_dir=Path("/etc/pagoda/api-keys"),
        chat_page=True,
        kept_responses=5,
        kept_responses_seconds=60,
        cors_allowed_origins=frozenset({"https://a.example", "http://localhost:3000"}),
    )


def test_the_server_reads_every_setting_that_a_spec_can_have() -> None:
    (server,) = build_pod()["containers"]
    engine = read_server(build_server_parser().parse_args(server["command"][3:])).engine
    assert (engine.device, engine.dtype, engine.gpu_memory_fraction) == ("cuda", "bfloat16", 0.5)
    assert (engine.max_wait_seconds, engine.tensor_parallel, engine.prefix_caching) == (9.0, 2, False)


def test_the_drain_before_a_stop_waits_as_long_as_the_spec_says() -> None:
    (server,) = build_pod()["containers"]
    command = server["lifecycle"]["preStop"]["exec"]["command"]
    assert read_settings(DrainSettings, build_server_parser().parse_args(command[3:])) == DrainSettings(seconds=33.0)


def test_the_gateway_of_a_local_run_is_told_its_own_addresses_and_hosts() -> None:
    folders = Folders(run=Path("/x/run"), models=Path("/x/m"), etc=Path("/x/etc"), batch=Path("/x/batch"))
    addresses = Addresses(shared_fd=9, admin_port=8)
    plan = plan_replica(build_pod(), name="chat-0", folders=folders, addresses=addresses, secrets={}, python="/py")
    settings = read_gateway(list(plan.gateway.command))
    assert (settings.listen, settings.admin) == (InheritedSocket(9), Address("127.0.0.1", 8))
    assert settings.allowed_hosts == frozenset({"localhost", "127.0.0.1", "[::1]"})
    assert settings.chat_page and plan.gateway.command.count("--chat-page") == 1
