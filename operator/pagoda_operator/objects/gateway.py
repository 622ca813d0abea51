"""The flags of the gateway: its addresses, its queue, who may ask, and what it offers beside the API."""

from pagoda_operator.api import ModelDeployment
from pagoda_operator.api.gateway import Gateway
from pagoda_operator.objects.volumes import API_KEYS_PATH, RUN_PATH

PORT = 8000
SOCKET = f"{RUN_PATH}/server.sock"
DEFAULT_BACKLOG_DRAIN_SECONDS = 15


def build_gateway_command(mdep: ModelDeployment) -> list[str]:
    queue, scaling = mdep.spec.queue, mdep.spec.autoscaling
    drain_seconds = scaling.backlog_drain_seconds if scaling else DEFAULT_BACKLOG_DRAIN_SECONDS
    command = ["python", "-m", "pagoda_gateway", "sidecar", "--listen", f"0.0.0.0:{PORT}", "--admin", "127.0.0.1:8001"]
    command += ["--upstream", SOCKET, "--model-name", mdep.served_model_name]
    command += ["--namespace", mdep.namespace, "--model-deployment", mdep.name]
    command += ["--max-queued", str(queue.max_queued), "--max-queued-tokens", str(queue.max_queued_tokens)]
    command += ["--max-wait-seconds", str(queue.max_wait_seconds), "--backlog-drain-seconds", str(drain_seconds)]
    command += ["--api-keys-dir", API_KEYS_PATH] if mdep.spec.auth is not None else []
    return command + _build_offers(mdep.spec.gateway or Gateway())


def _build_offers(wanted: Gateway) -> list[str]:
    """Returns nothing for what is a default anyway, so that pods stay as they are."""
    flags = ["--chat-page"] if wanted.chat_page else []
    if wanted.cors is not None:
        flags += ["--cors-allowed-origins", ",".join(wanted.cors.allowed_origins)]
    if (kept := wanted.kept_responses) is not None:
        flags += ["--kept-responses", str(kept.count), "--kept-responses-seconds", str(kept.seconds)]
    return flags
