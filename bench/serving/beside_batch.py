"""What a batch costs the live streams beside it, on an endpoint with `spec.batch`: `python -m bench beside-batch`.

A closed loop of live streams, first alone, then while a batch that is longer than the loop fills the gaps. The figures
are the live streams' times to the first token and between tokens in both cases, and the tokens that the batch had
meanwhile. The batch is cancelled at the end.
"""

import argparse
import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import aiohttp

from bench.serving.http_load import Load, Report, add_load_arguments, run_load
from bench.work.workload import build_uniform

ENDPOINT = "/v1/completions"
LINES = 20_000
GROW_SECONDS = 10.0
"""From the batch's first tokens until the live streams begin: alone it has grown by then."""
RunLoad = Callable[[Load], Report]


@dataclass(frozen=True, slots=True, kw_only=True)
class BesideBatch:
    alone: Report
    beside: Report
    batch_requests: int
    """Completed while the live streams ran."""
    batch_output_tokens: int

    @property
    def ttft_p99_ratio(self) -> float:
        return round(self.beside.ttft_p99_ms / self.alone.ttft_p99_ms, 3)


class Endpoint:
    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def ask(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """Raises RuntimeError for anything but a 200."""
        async with self._session.request(method, self._url + path, **options) as response:
            answer = await response.json()
            if response.status != 200:
                raise RuntimeError(f"{method} {path}: {response.status} {answer}")
            return dict(answer)

    async def start_batch(self, load: Load, lines: int) -> str:
        form = aiohttp.FormData({"purpose": "batch"})
        form.add_field("file", build_input(load, lines), filename="requests.jsonl")
        file = await self.ask("POST", "/v1/files", data=form)
        asked = {"input_file_id": file["id"], "endpoint": ENDPOINT, "completion_window": "24h"}
        return str((await self.ask("POST", "/v1/batches", json=asked))["id"])

    async def read_batch(self, batch_id: str) -> tuple[int, int]:
        """Returns the requests completed and the tokens written. Raises RuntimeError when the batch has ended."""
        batch = await self.ask("GET", f"/v1/batches/{batch_id}")
        if batch["status"] not in ("validating", "in_progress"):
            raise RuntimeError(f"the batch is {batch['status']} too early: {batch['errors'] or 'give more --lines'}")
        return batch["request_counts"]["completed"], batch["usage"]["output_tokens"]

    async def wait_begun(self, batch_id: str) -> None:
        while not (await self.read_batch(batch_id))[0]:
            await asyncio.sleep(0.5)


def build_input(load: Load, lines: int) -> bytes:
    work = build_uniform(
        lines, load.tokens_in, load.tokens_out, seed=load.seed + 7, largest_token_id=load.largest_token_id
    )
    bodies = ({"model": load.model, "prompt": prompt, "max_tokens": load.tokens_out} for prompt in work.prompts)
    asked = (
        {"custom_id": str(number), "method": "POST", "url": ENDPOINT, "body": body}
        for number, body in enumerate(bodies)
    )
    return b"".join(json.dumps(line).encode() + b"\n" for line in asked)


async def measure(load: Load, lines: int, *, grow_seconds: float, run: RunLoad = run_load) -> BesideBatch:
    """Measures after a short warm-up. Raises RuntimeError when the batch fails, or ends before the live streams do."""
    await asyncio.to_thread(run, replace(load, requests=load.streams, tokens_out=16))
    alone = await asyncio.to_thread(run, load)
    headers = {"Authorization": f"Bearer {load.api_key}"} if load.api_key else {}
    async with aiohttp.ClientSession(headers=headers) as session:
        endpoint = Endpoint(session, load.url)
        batch_id = await endpoint.start_batch(load, lines)
        try:
            await endpoint.wait_begun(batch_id)
            await asyncio.sleep(grow_seconds)
            requests, tokens = await endpoint.read_batch(batch_id)
            beside = await asyncio.to_thread(run, replace(load, seed=load.seed + 1))
            requests_then, tokens_then = await endpoint.read_batch(batch_id)
        finally:
            await endpoint.ask("POST", f"/v1/batches/{batch_id}/cancel")
    return BesideBatch(
        alone=alone,
        beside=beside,
        batch_requests=requests_then - requests,
        batch_output_tokens=tokens_then - tokens,
    )


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench beside-batch", description=__doc__)
    parser.add_argument("url")
    parser.add_argument("model")
    add_load_arguments(parser, streams=8, requests=128)
    parser.add_argument("--lines", type=int, default=LINES, help="of the batch (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--api-key", default="", help="sent as a Bearer token")
    asked = vars(parser.parse_args(words))
    lines = asked.pop("lines")
    found = asyncio.run(measure(Load(**asked), lines, grow_seconds=GROW_SECONDS))
    print(json.dumps(asdict(found) | {"ttft_p99_ratio": found.ttft_p99_ratio}))
    return 0
