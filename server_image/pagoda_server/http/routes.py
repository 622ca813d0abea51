"""What is said of a path that is not served, or not by that method."""

from collections.abc import Mapping

from aiohttp import web

from pagoda_server.http.errors import RequestError
from pagoda_server.http.fields import NOT_YET

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
RESPONSES, MESSAGES = "/v1/responses", "/v1/messages"
COUNT_TOKENS, INPUT_TOKENS = f"{MESSAGES}/count_tokens", f"{RESPONSES}/input_tokens"
CHECK = "/check"
"""In front of a path: would it be taken, and what would it cost? The gateway asks before it lets a request wait."""
TENANT_HEADER = "X-Pagoda-Tenant"
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
    "messages": f"{MESSAGES} or {COUNT_TOKENS}",
    "moderations": CHAT,
    "pooling": ANSWERS,
    "realtime": CHAT,
    "rerank": ANSWERS,
    "responses": RESPONSES,
    "score": ANSWERS,
    "threads": CHAT,
    "uploads": ANSWERS,
    "vector_stores": ANSWERS,
    "videos": ANSWERS,
}


def find_tenant(request: web.Request) -> str:
    """Returns whose request it is. NB: only the gateway sends this header, which it takes from nobody."""
    return request.headers.get(TENANT_HEADER, "")


def is_anthropic(path: str) -> bool:
    """Returns whether clients of Anthropic's API ask there."""
    plain = path.removeprefix(CHECK)
    return plain == MESSAGES or plain.startswith(f"{MESSAGES}/")


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
