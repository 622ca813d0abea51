"""The real HTTP front of a model that calls tools and reasons; a test says what it answers."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.doubles.served import Stack, serve_stack
from tests.doubles.tiny_models import AGENT_MARKS, AGENT_TEMPLATE, AGENT_TOKENS, write_tokenizer


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    write_tokenizer(tmp_path, AGENT_TEMPLATE, AGENT_TOKENS, AGENT_MARKS)
    async with serve_stack(tmp_path, max_model_len=8000) as served:
        yield served


Post = Callable[[str, Any], Awaitable[tuple[int, Any]]]


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def post(stack: Stack, http: aiohttp.ClientSession) -> Post:
    """A path and a body to the status and the answer's JSON."""

    async def send(path: str, body: Any) -> tuple[int, Any]:
        async with http.post(stack.url + path, json=body) as response:
            return response.status, await response.json()

    return send
