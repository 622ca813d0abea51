"""Serves custom.metrics.k8s.io to the API server's aggregator and to nobody else.

A figure that is stale or missing is an error, never 0: the HPA then keeps the replicas as they are.
"""

import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from pagoda_operator.metrics_api.shapes import (
    GROUP,
    METRIC,
    RESOURCE,
    VERSIONS,
    Json,
    build_group,
    build_group_list,
    build_metric_values,
    build_resource_list,
    build_status,
)
from pagoda_operator.scrape import LoadUnknownError

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
ReadDemand = Callable[[str, str], Awaitable[float]]
"""Demand of (namespace, name). Raises LoadUnknownError, or KeyError when there is no such ModelDeployment."""


@dataclass(frozen=True, slots=True)
class Trust:
    """Whom the API server's front proxy says it is."""

    client_ca_pem: str
    allowed_names: tuple[str, ...] = ()
    """Common names; empty allows every name that the CA signed."""


def client_is_trusted(request: web.Request, trust: Trust) -> bool:
    """NB: the TLS layer has already checked the chain against the front-proxy CA."""
    transport = request.transport
    certificate = transport.get_extra_info("peercert") if transport is not None else None
    if not certificate:
        return False
    names = {value for rdn in certificate["subject"] for key, value in rdn if key == "commonName"}
    return not trust.allowed_names or bool(names & set(trust.allowed_names))


def build_ssl_context(trust: Trust, certificate_path: str, key_path: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate_path, key_path)
    context.load_verify_locations(cadata=trust.client_ca_pem)
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


def build_app(read_demand: ReadDemand, trust: Callable[[], Trust], *, wall: Callable[[], float]) -> web.Application:
    @web.middleware
    async def authenticate(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path != "/healthz" and not client_is_trusted(request, trust()):
            return _failure(401, "Unauthorized", "a client certificate of the front proxy is needed")
        return await handler(request)

    async def metric(request: web.Request) -> web.Response:
        part = request.match_info
        if part["version"] not in VERSIONS or part["resource"] != RESOURCE or part["metric"] != METRIC:
            return _failure(404, "NotFound", f"the metric is {RESOURCE}/{METRIC}, not {request.path}")
        if part["name"] == "*":
            return _failure(404, "NotFound", "ask for one ModelDeployment by name")
        namespace, name = part["namespace"], part["name"]
        try:
            value = await read_demand(namespace, name)
        except KeyError:
            return _failure(404, "NotFound", f"no ModelDeployment {namespace}/{name}")
        except LoadUnknownError as error:
            return _failure(404, "NotFound", f"the demand of {namespace}/{name} is not known: {error}")
        values = build_metric_values(part["version"], namespace=namespace, name=name, value=value, now=wall())
        return web.json_response(values)

    app = web.Application(middlewares=[authenticate])
    app.router.add_get("/healthz", _answer({"status": "ok"}))
    app.router.add_get("/apis", _answer(build_group_list()))
    app.router.add_get(f"/apis/{GROUP}", _answer(build_group()))
    for version in VERSIONS:
        app.router.add_get(f"/apis/{GROUP}/{version}", _answer(build_resource_list(version)))
    app.router.add_get(f"/apis/{GROUP}/{{version}}/namespaces/{{namespace}}/{{resource}}/{{name}}/{{metric}}", metric)
    app.router.add_route("*", "/{path:.*}", _not_found)
    return app


def _answer(body: Json) -> Handler:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response(body)

    return answer


async def _not_found(request: web.Request) -> web.Response:
    return _failure(404, "NotFound", f"nothing is served at {request.path}")


def _failure(code: int, reason: str, message: str) -> web.Response:
    return web.json_response(build_status(code, reason, message), status=code)
