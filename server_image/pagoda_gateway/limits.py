"""What each listener holds its clients to, made of the settings."""

from collections.abc import Callable

from pagoda_gateway.body import TENANT_SHARE, Bodies, BodyBudget
from pagoda_gateway.connections import Connections, Limits, choose_max_connections, read_file_limit
from pagoda_gateway.cors import Cors
from pagoda_gateway.failure_log import FailureLog
from pagoda_gateway.listening import ListenerPolicy
from pagoda_gateway.metrics import Metrics
from pagoda_gateway.request_head import build_judge
from pagoda_gateway.responses.service import ResponseService
from pagoda_gateway.responses.store import Bounds, MemoryResponses
from pagoda_gateway.settings import Settings

UPLOAD_PATHS = ("/v1/files",)
ADMIN_CONNECTIONS = 64
"""Apart from the public ones, so that a crowd there does not keep a drain out."""


def build_bodies(settings: Settings, metrics: Metrics) -> Bodies:
    """Returns the budget of bodies: one tenant of several never has it all; without keys there is but one."""
    share = 1.0 if settings.api_keys_dir is None else TENANT_SHARE
    budget = BodyBudget(settings.max_body_bytes_total, tenant_share=share)
    metrics.gauge("body_bytes", "Bytes of request bodies held in the gateway", lambda: budget.held_bytes)
    return Bodies(
        budget, max_bytes=settings.max_body_bytes, seconds=settings.body_seconds, count=metrics.count_rejected
    )


def build_responses(settings: Settings, metrics: Metrics, *, clock: Callable[[], float]) -> ResponseService:
    """Returns the service of kept answers: one tenant of several never has all the room."""
    responses = None
    if settings.kept_responses:
        share = 1.0 if settings.api_keys_dir is None else TENANT_SHARE
        bounds = Bounds(
            count=settings.kept_responses,
            total_bytes=settings.kept_responses_bytes,
            seconds=settings.kept_responses_seconds,
            tenant_share=share,
        )
        responses = memory = MemoryResponses(bounds, clock=clock)
        metrics.gauge("kept_responses", "Answers of /v1/responses that are kept", lambda: memory.count)
        metrics.gauge("kept_response_bytes", "Bytes of the answers that are kept", lambda: memory.bytes)
    return ResponseService(responses, max_body_bytes=settings.max_body_bytes)


def build_connections(settings: Settings, metrics: Metrics, *, clock: Callable[[], float]) -> Connections:
    count = metrics.counter("connections_let_go", "Client connections ended by the gateway, by reason", "reason")
    max_connections = choose_max_connections(settings.max_connections, read_file_limit())
    connections = Connections(build_limits(settings, max_connections), clock=clock, count=count)
    metrics.gauge("connections", "Client connections that are open", lambda: len(connections))
    return connections


def build_limits(settings: Settings, max_connections: int) -> Limits:
    return Limits(
        max_connections=max_connections,
        header_seconds=settings.header_seconds,
        idle_seconds=settings.idle_seconds,
        stalled_seconds=settings.stalled_seconds,
    )


def build_public_policy(
    settings: Settings, connections: Connections, metrics: Metrics, *, clock: Callable[[], float]
) -> ListenerPolicy:
    cors = Cors(settings.cors_allowed_origins)
    uploads = UPLOAD_PATHS if settings.batch_store else ()
    judge = build_judge(settings.allowed_hosts, cors=cors, uploads=uploads)
    return ListenerPolicy(connections, judge, metrics.count_rejected, FailureLog(clock=clock), cors)


def build_admin_policy(settings: Settings, metrics: Metrics, *, clock: Callable[[], float]) -> ListenerPolicy:
    limits = build_limits(settings, ADMIN_CONNECTIONS)
    connections = Connections(limits, clock=clock, count=lambda reason: None)
    judge = build_judge({settings.admin.host}, admin=True)
    return ListenerPolicy(connections, judge, metrics.count_rejected, FailureLog(clock=clock))
