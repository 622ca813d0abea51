"""The page to try the model: one file of the package, served as it is, that asks no host but this one.

Its policy lets run only the script and the style that are in the file, known by their hashes. It holds no secret: it is
served without a key, and asks its reader for one where the API wants it.
"""

import base64
import hashlib
import re
from importlib.resources import files

from aiohttp import web

BLOCK = re.compile(r"<(script|style)>(.*?)</\1>", re.DOTALL)
POLICY = (
    "default-src 'none'; script-src {script}; style-src {style}; connect-src 'self'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-cache",
}


def build_policy(text: str) -> str:
    """Returns the Content-Security-Policy under which the page's own script and style are all that runs."""
    sources = {"script": "'none'", "style": "'none'"}
    for kind, content in BLOCK.findall(text):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        sources[kind] = f"'sha256-{digest}'"
    return POLICY.format(**sources)


class ChatPage:
    def __init__(self, text: str) -> None:
        self._body = text.encode()
        self._headers = {**HEADERS, "Content-Security-Policy": build_policy(text)}
        self._tag = hashlib.sha256(self._body).hexdigest()[:16]

    @classmethod
    def load(cls) -> "ChatPage":
        return cls(files("pagoda_gateway").joinpath("chat_page.html").read_text("utf-8"))

    async def answer(self, request: web.Request) -> web.Response:
        """Returns the page, or that the browser's copy of it is still the same."""
        known = {tag.value for tag in request.if_none_match or ()}
        if self._tag in known:
            response = web.Response(status=304, headers=self._headers)
        else:
            response = web.Response(body=self._body, headers=self._headers, content_type="text/html", charset="utf-8")
        response.etag = self._tag
        return response
