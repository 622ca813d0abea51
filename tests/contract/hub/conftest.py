"""A server on loopback that speaks as much of the Hugging Face hub's API as a download asks for."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from tests.doubles.loopback import serving

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {
    "config.json": json.dumps({"model_type": "llama"}).encode(),
    "tokenizer.json": b"{}",
    "model.safetensors": bytes(range(256)) * 4096,
    "pytorch_model.bin": b"pickle",
    "modeling_own.py": b"raise SystemExit",
    "README.md": b"read me",
}


@dataclass
class Hub:
    url: str = ""
    files: dict[str, bytes] = field(default_factory=lambda: dict(FILES))
    api_status: int = 200
    file_status: int = 200
    error_code: str = ""
    cuts_left: int = 0
    """How many times the weights break off in the middle."""
    keeps_cutting: bool = False
    listed: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What the listing says of a file in place of the truth."""
    raw_listing: bytes | None = None
    head: dict[str, str] = field(default_factory=dict)
    """Headers of the weights in place of the true ones."""
    floods: bool = False
    """The weights have no length and no end."""
    is_silent: bool = False
    """The weights begin and never go on."""
    redirects_to: str = ""
    sent_bytes: int = 0
    ranges: list[str] = field(default_factory=list)
    got: list[str] = field(default_factory=list)
    tokens: set[str | None] = field(default_factory=set)

    def build_app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/api/models/org/name", self.answer_info)
        app.router.add_get("/api/models/org/name/revision/{revision}", self.answer_info)
        app.router.add_get("/api/models/org/name/tree/{commit}", self.answer_tree)
        app.router.add_get("/org/name/resolve/{commit}/{file}", self.answer_file)
        return app

    def refuse(self, status: int) -> web.Response:
        return web.json_response({"error": "no"}, status=status, headers={"X-Error-Code": self.error_code})

    async def answer_info(self, request: web.Request) -> web.Response:
        self.tokens.add(request.headers.get("Authorization"))
        if self.api_status != 200:
            return self.refuse(self.api_status)
        if self.raw_listing is not None:
            return web.Response(body=self.raw_listing, content_type="application/json")
        siblings = [{"rfilename": name, "size": len(data), "blobId": name} for name, data in self.files.items()]
        siblings = [sibling | self.listed.get(str(sibling["rfilename"]), {}) for sibling in siblings]
        return web.json_response({"id": "org/name", "sha": COMMIT, "siblings": siblings})

    async def answer_tree(self, request: web.Request) -> web.Response:
        assert request.match_info["commit"] == COMMIT
        entries = [
            {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
            for name, data in self.files.items()
        ]
        return web.json_response(entries)

    async def answer_file(self, request: web.Request) -> web.StreamResponse:
        self.tokens.add(request.headers.get("Authorization"))
        if self.file_status != 200:
            return self.refuse(self.file_status)
        name = request.match_info["file"]
        data = self.files[name]
        headers = {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if request.method == "HEAD":
            return web.Response(headers=headers | {"Content-Length": str(len(data))})
        self.got.append(name)
        if name == "model.safetensors" and self.redirects_to:
            raise web.HTTPFound(self.redirects_to)
        if name == "model.safetensors" and (self.floods or self.is_silent):
            return await self.answer_without_end(request)
        start = request.http_range.start or 0
        if start:
            self.ranges.append(request.headers["Range"])
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        head = self.head if name == "model.safetensors" else {}
        response = web.StreamResponse(status=206 if start else 200, headers=headers | head)
        response.content_length = len(data) - start
        await response.prepare(request)
        if name == "model.safetensors" and (self.cuts_left or self.keeps_cutting):
            self.cuts_left = max(self.cuts_left - 1, 0)
            await response.write(data[start : start + len(data) // 2])
            assert request.transport is not None
            request.transport.close()
            return response
        await response.write(data[start:])
        return response

    async def answer_without_end(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        while True:
            await response.write(bytes(1 << 16))
            self.sent_bytes += 1 << 16
            while self.is_silent:
                await asyncio.sleep(0.02)


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    hub = Hub()
    async with serving(hub.build_app(), shutdown_timeout=0.1) as hub.url:
        yield hub
