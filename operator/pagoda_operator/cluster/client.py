"""Calls to the API server, in a bounded pool of threads so that the event loop never waits.

Every call is counted by verb, kind and code. It decides nothing.
"""

import asyncio
import json
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol
from urllib.parse import urlencode

from kubernetes import client as kubernetes_client
from kubernetes import config as kubernetes_config

from pagoda_operator.kube.kinds import Kind
from pagoda_operator.kube.objects import Object

APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
PAGE_ITEMS = 100
JSON_PATCH = "application/json-patch+json"
Body = Object | list[Object]
MAXIMUM_RETRY_AFTER_SECONDS = 300.0


class ApiError(Exception):
    """The API server refused a call (status 0: it did not answer)."""

    def __init__(
        self, status: int, message: str, *, causes: Collection[str] = (), retry_after_seconds: float = 0.0
    ) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message
        self.retry_after_seconds = retry_after_seconds
        """How long the API server asked to be left alone."""
        self.namespace_ends = "NamespaceTerminating" in causes
        """True when nothing can be made any more because the namespace is being deleted."""


class CallCounter(Protocol):
    def __call__(self, verb: str, kind: str, code: int) -> None: ...


def load_api_client(threads: int) -> Any:
    """Returns a client with the pod's service account, or else with the kubeconfig."""
    configuration = kubernetes_client.Configuration()
    try:
        kubernetes_config.load_incluster_config(client_configuration=configuration)
    except kubernetes_config.ConfigException:
        kubernetes_config.load_kube_config(client_configuration=configuration)
    configuration.connection_pool_maxsize = threads
    configuration.retries = False
    return kubernetes_client.ApiClient(configuration)


class Client:
    def __init__(self, api_client: Any, *, count: CallCounter, timeout_seconds: float, threads: int = 8) -> None:
        self._api = api_client
        self._count = count
        self._timeout_seconds = timeout_seconds
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="api")

    async def get(self, kind: Kind, name: str, namespace: str = "") -> Object | None:
        try:
            return await self.request("GET", kind.path(namespace, name), kind=kind.kind, verb="get")
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def list(
        self, kind: Kind, namespace: str = "", *, fields: str = "", keep: Callable[[Object], Object] = lambda item: item
    ) -> list[Object]:
        """Returns the items of all pages, each with the apiVersion and kind that lists leave out.

        `fields` is a field selector. `keep` returns what is kept of an item once its page is read: whole pages of many
        kinds are large.
        """
        items: list[Object] = []
        query = {"limit": str(PAGE_ITEMS)}
        query |= {"labelSelector": kind.selector} if kind.selector else {}
        query |= {"fieldSelector": fields} if fields else {}
        while True:
            page = await self.request("GET", kind.path(namespace), kind=kind.kind, verb="list", query=query)
            items += [keep({"apiVersion": kind.api_version, "kind": kind.kind, **item}) for item in page["items"]]
            query["continue"] = page["metadata"].get("continue", "")
            if not query["continue"]:
                return items

    async def create(self, kind: Kind, obj: Object) -> Object:
        path = kind.path(obj["metadata"].get("namespace", ""))
        return await self.request("POST", path, kind=kind.kind, verb="create", body=obj)

    async def replace(self, kind: Kind, obj: Object) -> Object:
        path = kind.path(obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
        return await self.request("PUT", path, kind=kind.kind, verb="update", body=obj)

    async def patch(
        self,
        kind: Kind,
        name: str,
        namespace: str,
        body: Body,
        *,
        content_type: str,
        subresource: str = "",
        **query: str,
    ) -> Object:
        path = kind.path(namespace, name, subresource)
        return await self.request(
            "PATCH", path, kind=kind.kind, verb="patch", body=body, query=query, content_type=content_type
        )

    async def delete(self, kind: Kind, name: str, namespace: str, *, uid: str = "") -> Object | None:
        """Deletes that very object, not one with the same name and another uid.

        Returns the object where finalizers hold it back.
        """
        body: Object = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if uid:
            body["preconditions"] = {"uid": uid}
        try:
            left = await self.request("DELETE", kind.path(namespace, name), kind=kind.kind, verb="delete", body=body)
        except ApiError as error:
            if error.status != 404:
                raise
            return None
        held = left.get("kind") == kind.kind and left["metadata"].get("finalizers")
        return left if held else None

    async def request(
        self,
        method: str,
        path: str,
        *,
        kind: str,
        verb: str,
        query: Mapping[str, str] | None = None,
        body: Body | None = None,
        content_type: str = "application/json",
    ) -> Object:
        loop = asyncio.get_running_loop()
        url = path + ("?" + urlencode(query) if query else "")
        status, text, retry_after = await loop.run_in_executor(self._pool, self._call, method, url, body, content_type)
        self._count(verb, kind, status)
        if not 200 <= status < 300:
            raise _read_error(status, text, retry_after)
        return _read_object(text)

    def _call(self, method: str, url: str, body: Body | None, content_type: str) -> tuple[int, str, str]:
        """Returns the code, the text and the Retry-After of the answer; code 0 when none came."""
        headers = {"Accept": "application/json", "User-Agent": "pagoda-operator"}
        if body is not None:
            headers["Content-Type"] = content_type
        self._api.update_params_for_auth(headers, [], ["BearerToken"], url, method, body)
        payload = json.dumps(body) if content_type == APPLY else body
        host = self._api.configuration.host
        try:
            answer = self._api.rest_client.request(
                method, host + url, headers=headers, body=payload, _request_timeout=self._timeout_seconds
            )
            return answer.status, answer.read().decode(), str(answer.headers.get("Retry-After", ""))
        except kubernetes_client.ApiException as error:
            return error.status or 0, str(error.body or error.reason), ""
        except Exception as error:  # urllib3 raises many kinds: all of them mean that no answer came
            return 0, repr(error), ""

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def _read_object(text: str) -> Object:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ApiError(0, f"the answer cannot be read: {error!r:.200}") from None
    if not isinstance(found, dict):
        raise ApiError(0, "the answer is no object")
    return found


def _read_error(status: int, text: str, retry_after: str) -> ApiError:
    seconds = min(float(retry_after), MAXIMUM_RETRY_AFTER_SECONDS) if retry_after.isdecimal() else 0.0
    try:
        body = json.loads(text)
        causes = [str(cause.get("reason")) for cause in (body.get("details") or {}).get("causes") or ()]
        return ApiError(status, str(body["message"]), causes=causes, retry_after_seconds=seconds)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ApiError(status, text[:300], retry_after_seconds=seconds)
