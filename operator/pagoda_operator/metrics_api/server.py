"""Serves custom.metrics.k8s.io to the API server's aggregator and to nobody else.

A figure that is stale or missing is an error, never 0: the HPA then keeps the replicas as they are.
"""

import re
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web
from aiohttp.typedefs import Middleware

from pagoda_operator.kube.objects import Object
from pagoda_operator.metrics_api.shapes import (
    GROUP,
    METRIC,
    RESOURCE,
    VERSIONS,
    build_group,
    build_group_list,
    build_metric_values,
    build_resource_list,
    build_status,
)
from pagoda_operator.metrics_api.trust import Trust, is_trusted
from pagoda_operator.plan.loads import LoadUnknownError
from pagoda_operator.ports import Handler, build_app

ReadDemand = Callable[[str, str], Awaitable[float]]
"""Demand of (namespace, name). Raises LoadUnknownError, or KeyError when there is no such ModelDeployment."""

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
"""NB: nothing else of what a caller sends is ever repeated in an answer."""
_REASONS = {401: "Unauthorized", 404: "NotFound", 405: "MethodNotAllowed", 413: "RequestEntityTooLarge"}


def build_metrics_api_app(
    read_demand: ReadDemand,
    trust: Callable[[], Trust | None],
    *,
    wall: Callable[[], float],
    count_error: Callable[[], None] = lambda: None,
) -> web.Application:
    app = build_app(_failure, count_error)
    app.middlewares.append(_authenticate(trust))
    app.router.add_get("/apis", _answer(build_group_list()))
    app.router.add_get(f"/apis/{GROUP}", _answer(build_group()))
    for version in VERSIONS:
        app.router.add_get(f"/apis/{GROUP}/{version}", _answer(build_resource_list(version)))
    path = f"/apis/{GROUP}/{{version}}/namespaces/{{namespace}}/{{resource}}/{{name}}/{{metric}}"
    app.router.add_get(path, _answer_metric(read_demand, wall))
    return app


def _authenticate(trust: Callable[[], Trust | None]) -> Middleware:
    @web.middleware
    async def authenticate(request: web.Request, handler: Handler) -> web.StreamResponse:
        transport = request.transport
        if not is_trusted(transport.get_extra_info("peercert") if transport else None, trust()):
            return _failure(401, "a client certificate of the front proxy is needed")
        return await handler(request)

    return authenticate


def _answer_metric(read_demand: ReadDemand, wall: Callable[[], float]) -> Handler:
    async def answer(request: web.Request) -> web.Response:
        if (complaint := _find_complaint(request.match_info)) is not None:
            return _failure(404, complaint)
        version, namespace, name = (request.match_info[part] for part in ("version", "namespace", "name"))
        try:
            value = await read_demand(namespace, name)
        except KeyError:
            return _failure(404, f"no ModelDeployment {namespace}/{name}")
        except LoadUnknownError as error:
            return _failure(404, f"the demand of {namespace}/{name} is not known: {error}")
        return web.json_response(build_metric_values(version, namespace=namespace, name=name, value=value, now=wall()))

    return answer


def _find_complaint(part: Mapping[str, str]) -> str | None:
    """Returns what is wrong with a path; None for one that names the metric of one ModelDeployment."""
    if part["version"] not in VERSIONS or part["resource"] != RESOURCE or part["metric"] != METRIC:
        return f"the metric is {RESOURCE}/{METRIC}"
    if part["name"] == "*":
        return "ask for one ModelDeployment by name"
    if not (_NAME.fullmatch(part["namespace"]) and _NAME.fullmatch(part["name"])):
        return "namespace and name are names of Kubernetes: at most 63 of a-z, 0-9 and -"
    return None


def _answer(body: Object) -> Handler:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response(body)

    return answer


def _failure(code: int, message: str) -> web.Response:
    return web.json_response(build_status(code, _REASONS.get(code, "InternalError"), message), status=code)
