"""An API server in memory: lists, server-side apply, optimistic concurrency, and faults that a test chooses."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

from pagoda_operator.cluster.client import APPLY, JSON_PATCH, ApiError, Client

Object = dict[str, Any]
Fault = Callable[[str, str], ApiError | None]
"""Called with the method and the path of each write."""


class FakeApi(Client):
    def __init__(self) -> None:
        self.objects: dict[str, Object] = {}
        self.writes: list[str] = []
        self.fault: Fault = lambda method, path: None
        self.unlisted: dict[str, ApiError] = {}
        """Kinds of which a list is refused, with what is answered."""
        self.resources: dict[str, list[str]] = {}
        """The kinds of an API version that comes from another project."""
        self.is_down = False
        self._version = 100

    async def request(
        self,
        method: str,
        path: str,
        *,
        kind: str,
        verb: str,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
    ) -> Object:
        if self.is_down:
            raise ApiError(0, "no answer")
        if method != "GET":
            if (refused := self.fault(method, path)) is not None:
                raise refused
            self.writes.append(f"{method} {path}")
        if verb == "list":
            return self._list(path, kind)
        if kind == "APIResourceList":
            return self._answer_resources(path)
        return copy.deepcopy(self._answer(method, path.removesuffix("/status"), body, content_type))

    def put(self, path: str, obj: Object) -> Object:
        """As somebody else writes it."""
        self._version += 1
        metadata = {"uid": f"uid-{path}", **obj["metadata"], "resourceVersion": str(self._version)}
        self.objects[path] = {**copy.deepcopy(obj), "metadata": metadata}
        return copy.deepcopy(self.objects[path])

    def of_kind(self, kind: str) -> list[Object]:
        return [obj for obj in self.objects.values() if obj["kind"] == kind]

    def _list(self, path: str, kind: str) -> Object:
        if kind in self.unlisted:
            raise self.unlisted[kind]
        parent = path.rpartition("/")[0] + "/"
        found = [obj for at, obj in self.objects.items() if obj["kind"] == kind and at.startswith(parent)]
        return {"items": copy.deepcopy(found), "metadata": {}}

    def _answer_resources(self, path: str) -> Object:
        kinds = self.resources.get(path.removeprefix("/apis/"))
        if kinds is None:
            raise ApiError(404, "no such group")
        return {"resources": [{"kind": kind} for kind in kinds]}

    def _answer(self, method: str, path: str, body: Any, content_type: str) -> Object:
        live = self.objects.get(path)
        if method == "POST":
            return self._create(f"{path}/{body['metadata']['name']}", body)
        if live is None and content_type != APPLY:
            raise ApiError(404, "not found")
        if method == "GET":
            return live or {}
        if method == "DELETE":
            del self.objects[path]
            return {"kind": "Status"}
        if content_type == JSON_PATCH:
            return live or {}
        self._check_version(live, body["metadata"])
        return self.put(path, body if method == "PUT" else _merged(live or {}, body))

    def _create(self, path: str, body: Object) -> Object:
        if path in self.objects:
            raise ApiError(409, "it is there already")
        return self.put(path, body)

    def _check_version(self, live: Object | None, metadata: Object) -> None:
        now = (live or {"metadata": {}})["metadata"]
        for key in ("uid", "resourceVersion"):
            if key in metadata and metadata[key] != now.get(key):
                raise ApiError(409, f"the object has been modified: {key}")


def _merged(live: Object, patch: Object) -> Object:
    result = dict(live)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merged(live.get(key) or {}, value) if isinstance(value, dict) else value
    return result
