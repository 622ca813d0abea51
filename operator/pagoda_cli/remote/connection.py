"""Calls to the API server with the user's kubeconfig. Every failure becomes a ClusterError; nothing else comes out.

It reads: the only writes are a server-side dry run and the opening of a port-forward. The data of Secrets is read in
one place, `read_secret_data`, and only for a command whose user asked for a key.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlencode

from pagoda_cli.remote.errors import ClusterError, explain_refusal
from pagoda_cli.remote.flags import ClusterFlags
from pagoda_cli.text import one_line
from pagoda_operator.kube.kinds import Kind
from pagoda_operator.kube.objects import Object

PAGE_ITEMS = 250
MAX_ITEMS = 5000
_OURS = "pagoda"


class Cluster:
    """A cluster as one user sees it. Its methods may be called from several threads."""

    def __init__(self, api_client: Any, namespace: str, flags: ClusterFlags) -> None:
        self.namespace = namespace
        self.flags = flags
        self.api_client = api_client
        self.server_time: datetime | None = None
        """The API server's clock at its last answer: ages are told by it, not by ours."""

    @property
    def host(self) -> str:
        return str(self.api_client.configuration.host)

    def now(self) -> datetime:
        return self.server_time or datetime.now(UTC)

    def get(self, kind: Kind, name: str, namespace: str = "") -> Object:
        resource = (kind.plural, "get", namespace)
        return _as_object(self._read("GET", kind.path(namespace, name), resource))

    def find(self, kind: Kind, name: str, namespace: str = "") -> Object | None:
        """Returns the object; None where there is none of that name or kind."""
        try:
            return self.get(kind, name, namespace)
        except ClusterError as error:
            if error.status == 404:
                return None
            raise

    def list(self, kind: Kind, namespace: str = "", *, labels: str = "", fields: str = "") -> list[Object]:
        """Returns the items of all pages, `MAX_ITEMS` at most; of all namespaces where none is given."""
        query = {"limit": str(PAGE_ITEMS)}
        query |= {"labelSelector": labels} if labels else {}
        query |= {"fieldSelector": fields} if fields else {}
        items: list[Object] = []
        while len(items) < MAX_ITEMS:
            page = _as_object(self._read("GET", kind.path(namespace), (kind.plural, "list", namespace), query=query))
            items += [{"apiVersion": kind.api_version, "kind": kind.kind, **item} for item in page.get("items") or ()]
            query["continue"] = str((page.get("metadata") or {}).get("continue") or "")
            if not query["continue"]:
                break
        return items[:MAX_ITEMS]

    def get_path(self, path: str, *, resource: str, timeout_seconds: float | None = None) -> Object:
        """Returns the JSON object at a path of the API server."""
        return _as_object(self._read("GET", path, (resource, "get", ""), timeout_seconds=timeout_seconds))

    def has_secret(self, name: str, namespace: str) -> bool:
        """Returns whether a Secret exists. NB: only its metadata is asked for, so that no data leaves the cluster."""
        accept = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
        try:
            path = f"/api/v1/namespaces/{namespace}/secrets/{name}"
            self._read("GET", path, ("secrets", "get", namespace), accept=accept)
        except ClusterError as error:
            if error.status == 404:
                return False
            raise
        return True

    def read_secret_data(self, name: str, namespace: str) -> Mapping[str, str]:
        """Returns the entries of a Secret, still in base64."""
        path = f"/api/v1/namespaces/{namespace}/secrets/{name}"
        return dict(_as_object(self._read("GET", path, ("secrets", "get", namespace))).get("data") or {})

    def read_pod_page(self, namespace: str, pod: str, port: int, path: str, *, timeout_seconds: float) -> str:
        """Returns what a pod answers at a path, by way of the API server's proxy."""
        address = f"/api/v1/namespaces/{namespace}/pods/{pod}:{port}/proxy{path}"
        resource = ("pods/proxy", "get", namespace)
        return self._read("GET", address, resource, accept="*/*", timeout_seconds=timeout_seconds)

    def read_log(self, namespace: str, pod: str, **query: str) -> str:
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/log"
        return self._read("GET", path, ("pods/log", "get", namespace), query=query, accept="*/*")

    @contextmanager
    def follow_log(self, namespace: str, pod: str, **query: str) -> Iterator[Iterator[bytes]]:
        """Gives the lines of a log as they come, without their ends."""
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/log?{urlencode(query)}"
        resource = ("pods/log", "get", namespace)
        answer = self._open("GET", path, resource, timeout_seconds=(self.flags.request_timeout_seconds, None))
        try:
            yield _lines(answer)
        finally:
            answer.release_conn()

    def dry_run(self, document: Object, kind: Kind, namespace: str) -> Object:
        """Returns the object as a server-side apply would leave it; nothing is written."""
        name = str(document["metadata"]["name"])
        query = {"dryRun": "All", "fieldManager": _OURS, "force": "true", "fieldValidation": "Strict"}
        path, resource = kind.path(namespace, name), (kind.plural, "patch", namespace)
        return _as_object(self._read("PATCH", path, resource, query=query, body=document))

    def _read(
        self,
        method: str,
        path: str,
        resource: tuple[str, str, str],
        *,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        accept: str = "application/json",
        timeout_seconds: float | None = None,
    ) -> str:
        url = path + ("?" + urlencode(query) if query else "")
        limit = timeout_seconds or self.flags.request_timeout_seconds
        answer = self._open(method, url, resource, body=body, accept=accept, timeout_seconds=limit)
        try:
            return bytes(answer.read()).decode("utf-8", "replace")
        except Exception as error:  # urllib3 raises many kinds: all of them mean that the answer broke off
            raise ClusterError(f"the answer of {self.host} broke off: {error}: try again") from error

    def _open(
        self,
        method: str,
        url: str,
        resource: tuple[str, str, str],
        *,
        body: Object | None = None,
        accept: str = "application/json",
        timeout_seconds: float | tuple[float, float | None],
    ) -> Any:
        payload: str | None = None
        plural, verb, namespace = resource
        headers = self.build_headers(method, url, accept)
        if body is not None:
            headers["Content-Type"] = "application/apply-patch+yaml"
            payload = json.dumps(body)
        try:
            answer = self.api_client.rest_client.pool_manager.request(
                method, self.host + url, headers=headers, body=payload, preload_content=False, **_limit(timeout_seconds)
            )
        except Exception as error:  # urllib3 raises many kinds: all mean that no answer came
            raise ClusterError(f"the cluster at {self.host} cannot be reached: {describe_failure(error)}") from error
        self._note_time(answer.headers.get("Date"))
        if not 200 <= answer.status < 300:
            text = bytes(answer.read()).decode("utf-8", "replace")
            raise explain_refusal(answer.status, _message(text), verb=verb, resource=plural, namespace=namespace)
        return answer

    def build_headers(self, method: str, url: str, accept: str = "application/json") -> Any:
        """Returns the headers of a request, with what the kubeconfig and the flags say of who asks."""
        headers = _build_headers(self.flags, accept)
        try:
            self.api_client.update_params_for_auth(headers, [], ["BearerToken"], url, method, None)
        except Exception as error:  # an exec plugin may fail in many ways
            raise ClusterError(f"no credentials for {self.host}: {describe_failure(error)}") from error
        return headers

    def _note_time(self, date: str | None) -> None:
        if date:
            try:
                self.server_time = parsedate_to_datetime(date)
            except ValueError:
                return


def _build_headers(flags: ClusterFlags, accept: str) -> Any:
    from urllib3 import HTTPHeaderDict

    headers = HTTPHeaderDict({"Accept": accept, "User-Agent": "pagoda-cli"})
    if flags.as_user:
        headers["Impersonate-User"] = flags.as_user
    for group in flags.as_groups:
        headers.add("Impersonate-Group", group)
    return headers


def _limit(timeout_seconds: float | tuple[float, float | None]) -> dict[str, Any]:
    from urllib3 import Timeout

    both = timeout_seconds if isinstance(timeout_seconds, tuple) else (timeout_seconds, timeout_seconds)
    return {"timeout": Timeout(connect=both[0], read=both[1])}


def _lines(answer: Any) -> Iterator[bytes]:
    """Gives the lines of a body that may never end. A body that breaks off ends here."""
    rest = b""
    try:
        for piece in answer.stream(65536):
            *lines, rest = (rest + piece).split(b"\n")
            yield from lines
    except Exception as error:  # urllib3 raises many kinds: all of them mean that the log broke off
        raise ClusterError(f"the log broke off: {describe_failure(error)}") from error
    if rest:
        yield rest


def _as_object(text: str) -> Object:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ClusterError("the API server answered with what is no JSON: is --server right?") from error
    if not isinstance(found, dict):
        raise ClusterError("the API server answered with what is no object: is --server right?")
    return found


def _message(text: str) -> str:
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return text[:300]


def describe_failure(error: BaseException) -> str:
    """Returns an error's innermost words: urllib3 wraps what the socket said several times."""
    while True:
        inner = getattr(error, "reason", None)
        if not isinstance(inner, BaseException):
            return one_line(str(error) or type(error).__name__)[:300]
        error = inner
