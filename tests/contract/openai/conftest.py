"""The real HTTP front on loopback, with an engine that answers with fixed tokens."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.doubles.served import Stack, serve_stack
from tests.doubles.tiny_models import write_tokenizer


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    write_tokenizer(tmp_path)
    async with serve_stack(tmp_path) as served:
        yield served


Post = Callable[[str, Any], Awaitable[tuple[int, Any]]]


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def post(stack: Stack, http: aiohttp.ClientSession) -> Post:
    """A path and a body (bytes as they are, else as JSON) to the status and the answer's JSON."""

    async def send(path: str, body: Any) -> tuple[int, Any]:
        kind: dict[str, Any] = {"data": body} if isinstance(body, bytes) else {"json": body}
        async with http.post(stack.url + path, **kind) as response:
            return response.status, await response.json()

    return send
