"""What is said of a path that is not served, or not by that method."""

from collections.abc import Mapping

from aiohttp import web

from pagoda_server.http.errors import RequestError
from pagoda_server.http.fields import NOT_YET

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
ANSWERS = f"{CHAT} or {COMPLETIONS}"
# Paths of OpenAI's and vLLM's APIs by their first part, and what does something like them here.
UNBUILT: Mapping[str, str] = {
    "assistants": CHAT,
    "audio": ANSWERS,
    "batches": ANSWERS,
    "chat": CHAT,
    "chatkit": CHAT,
    "classify": ANSWERS,
    "completions": COMPLETIONS,
    "containers": ANSWERS,
    "conversations": CHAT,
    "edits": ANSWERS,
    "embeddings": ANSWERS,
    "engines": ANSWERS,
    "evals": ANSWERS,
    "files": ANSWERS,
    "fine_tuning": ANSWERS,
    "images": ANSWERS,
    "messages": CHAT,
    "moderations": CHAT,
    "pooling": ANSWERS,
    "realtime": CHAT,
    "rerank": ANSWERS,
    "responses": CHAT,
    "score": ANSWERS,
    "threads": CHAT,
    "uploads": ANSWERS,
    "vector_stores": ANSWERS,
    "videos": ANSWERS,
}


def describe_missing(path: str) -> RequestError:
    first = path.removeprefix("/v1/").partition("/")[0] if path.startswith("/v1/") else ""
    if first in UNBUILT:
        return RequestError(f"{path[:80]} {NOT_YET}; use {UNBUILT[first]}", status=404, code="unsupported_endpoint")
    return RequestError(
        f"{path[:80]} is not a path of this server; use {CHAT}, {COMPLETIONS} or /v1/models",
        status=404,
        code="not_found",
    )


def describe_http_error(request: web.Request, error: web.HTTPException) -> RequestError:
    if isinstance(error, web.HTTPNotFound):
        return describe_missing(request.path)
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        return RequestError(
            f"{request.path[:80]} does not take {request.method[:20]}; use {allowed}",
            status=405,
            code="method_not_allowed",
            headers={"Allow": allowed},
        )
    return RequestError(error.reason, status=error.status)
