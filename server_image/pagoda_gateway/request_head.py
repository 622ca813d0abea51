"""What is refused by a request's head alone: before a byte of its body is read, cheaply, and at once.

Pure but for the request it reads. It must never repeat what a client sent, but for a media type's name.
"""

import re
from collections.abc import Callable, Collection
from urllib.parse import urlsplit

from aiohttp import HttpVersion10, HttpVersion11, web

from pagoda_gateway.cors import NO_CORS, Cors
from pagoda_gateway.errors import Refusal

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
ALLOWED = ", ".join(sorted(METHODS))
TARGET = re.compile(r"/[\x21-\x7e]*")
MEDIA_TYPE = re.compile(r"\s*([\w.+-]{1,64}/[\w.+-]{1,64})\s*(;|$)", re.ASCII)
JSON_TYPE = re.compile(r"application/([\w.-]+\+)?json", re.ASCII | re.IGNORECASE)
FORM_TYPE = "multipart/form-data"
HOST = re.compile(r"(\[[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(:[0-9]{0,5})?", re.ASCII)
LOOPBACK = re.compile(r"localhost|127(\.[0-9]{1,3}){3}|\[::1\]")
ADMIN_HEADER = "X-Pagoda-Admin"
"""A page of another site cannot send it: its browser would ask first, and gets no leave."""


def invalid(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> Refusal:
    """Returns a refusal. NB: who speaks another protocol has no next request to be read."""
    close = status in (400, 405)
    return Refusal(status, code, message, "invalid_request_error", close=close, headers=headers or {})


def judge_head(request: web.BaseRequest, uploads: Collection[str] = ()) -> None:
    """Raises Refusal for what no server of ours can take. `uploads` are the paths that take forms with files."""
    if request.method not in METHODS:
        raise invalid(405, "method_not_allowed", f"Method not served: use one of {ALLOWED}.", {"Allow": ALLOWED})
    if request.version not in (HttpVersion10, HttpVersion11):
        raise invalid(400, "bad_request", "Only HTTP/1.0 and HTTP/1.1 are supported.")
    if not TARGET.fullmatch(request.raw_path):
        raise invalid(400, "bad_request", "The request's target is not a path: send '/...' in plain ASCII.")
    if request.headers.get("Transfer-Encoding", "chunked").strip().lower() != "chunked":
        raise invalid(400, "bad_request", "The only Transfer-Encoding supported is 'chunked'.")
    if request.headers.get("Expect", "100-continue").lower() != "100-continue":
        raise invalid(417, "expectation_failed", "The only Expect supported is '100-continue'.")
    judge_content(request, uploads)


def judge_content(request: web.BaseRequest, uploads: Collection[str] = ()) -> None:
    """Raises Refusal for what is not JSON, or a form where one is taken, as it is.

    A body without a type is taken for JSON, but not from a web page, which can send one unasked, as it can a form.
    """
    encodings = ",".join(request.headers.getall("Content-Encoding", [])).lower().split(",")
    if {encoding.strip() for encoding in encodings} - {"", "identity"}:
        message = "Content-Encoding is not supported: send the body as it is, uncompressed."
        raise invalid(415, "unsupported_content_encoding", message, {"Accept-Encoding": "identity"})
    if not request.body_exists:
        return
    kind = request.headers.get("Content-Type", "")
    if not kind.strip() and "Origin" not in request.headers:
        return
    media_type = MEDIA_TYPE.match(kind)
    if media_type is not None and media_type[1].lower() == FORM_TYPE and may_upload(request, uploads):
        return
    if media_type is None or not JSON_TYPE.fullmatch(media_type[1]):
        said = f"is {media_type[1]}" if media_type else "is missing or not a media type"
        raise invalid(415, "unsupported_media_type", f"Content-Type {said}: send application/json.")


def may_upload(request: web.BaseRequest, uploads: Collection[str]) -> bool:
    """Returns whether a form is taken. NB: a web page can send one unasked, but not with a key."""
    has_key = "Authorization" in request.headers or "X-Api-Key" in request.headers
    return request.method == "POST" and request.path in uploads and (has_key or "Origin" not in request.headers)


def judge_host(request: web.BaseRequest, allowed: Collection[str], cors: Cors) -> None:
    """Raises Refusal where names decide who is asked and this one is not allowed.

    A web page elsewhere, or a name turned on this address, is no client of ours, unless the page is one of `cors`.
    """
    if not is_allowed(request.headers.get("Host", ""), allowed):
        raise invalid(403, "forbidden_host", "Host is not one of this gateway's: see --allowed-hosts.")
    origin = request.headers.get("Origin")
    if origin is not None and not (is_allowed(read_origin_host(origin), allowed) or cors.allows(origin)):
        raise invalid(403, "forbidden_origin", "Origin is not one that may ask this gateway: see --allowed-hosts.")


def judge_admin(request: web.BaseRequest) -> None:
    if request.method not in ("GET", "HEAD") and request.headers.get(ADMIN_HEADER) != "1":
        raise invalid(403, "forbidden", f"This needs the header '{ADMIN_HEADER}: 1'.")


def read_origin_host(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def is_allowed(host: str, allowed: Collection[str]) -> bool:
    """Returns whether `host`, with or without its port, may be asked for; this machine's own names always may."""
    parts = HOST.fullmatch(host.strip())
    if parts is None:
        return False
    name = parts[1].lower().rstrip(".")
    return name in allowed or LOOPBACK.fullmatch(name) is not None


def build_judge(
    allowed_hosts: Collection[str] | None, *, admin: bool = False, cors: Cors = NO_CORS, uploads: Collection[str] = ()
) -> Callable[[web.BaseRequest], None]:
    """Returns what judges each request's head. `allowed_hosts` None: any, as behind an ingress that knows its own."""

    def judge(request: web.BaseRequest) -> None:
        judge_head(request, uploads)
        if allowed_hosts is not None:
            judge_host(request, allowed_hosts, cors)
        if admin:
            judge_admin(request)

    return judge
