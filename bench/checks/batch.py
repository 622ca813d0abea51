"""Whether a large batch is whole and lean: `python -m bench batch --requests 50000 --kills 2`, without a GPU.

The real gateway in front of a server that answers at once; the gateway is killed (SIGKILL) while it works and started
again. At the end each request must have exactly one line, what was asked twice must have been in flight at a kill, and
the gateway's memory must have stayed below a bound. Prints JSON; exits with 1 when something of it is not so.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import aiohttp

from bench.checks.memory import MIB

CODE = Path(__file__).resolve().parents[2] / "server_image"
PORT, ADMIN_PORT = 18480, 18481
URL = f"http://127.0.0.1:{PORT}"
ENDPOINT = "/v1/completions"
SLOTS = 256
PROMPT = "x" * 300
GROWTH_LIMIT_BYTES = 96 * MIB
"""What a batch of any length may add to the memory of a gateway at rest."""
ANSWER = json.dumps(
    {
        "object": "text_completion",
        "choices": [{"index": 0, "text": "y" * 600, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 75, "completion_tokens": 150, "total_tokens": 225},
    }
).encode()
LOAD = {
    "tokens_per_second": 0.0,
    "running": 0,
    "waiting": 0,
    "backlog_tokens": 0,
    "capacity_tokens_per_second": None,
    "max_num_seqs": SLOTS,
}


@dataclass
class Report:
    requests: int
    kills: int
    upload_seconds: float = 0.0
    batch_seconds: float = 0.0
    rss_at_rest_mib: float = 0.0
    rss_peak_mib: float = 0.0
    lines: int = 0
    asked: int = 0
    asked_twice: int = 0
    wrong: str = ""


class InstantServer:
    """Answers every request at once, and counts how often each was asked."""

    def __init__(self) -> None:
        self.asked: Counter[int] = Counter()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = next((int(line[16:]) for line in head.split("\r\n") if line.startswith("Content-Length: ")), 0)
            answer = self._answer(head.split(" ", 2)[1], await reader.readexactly(length))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _answer(self, path: str, body: bytes) -> bytes:
        if path == "/load":
            return json.dumps(LOAD).encode()
        if path == ENDPOINT:
            self.asked[json.loads(body)["seed"]] += 1
            return ANSWER
        return b""


async def start_gateway(folder: Path, count: int) -> asyncio.subprocess.Process:
    command = [sys.executable, "-m", "pagoda_gateway", "sidecar", "--upstream", str(folder / "s.sock")]
    command += ["--listen", f"127.0.0.1:{PORT}", "--admin", f"127.0.0.1:{ADMIN_PORT}", "--model-name", "m"]
    command += ["--namespace", "n", "--model-deployment", "d", "--max-queued", "100", "--max-queued-tokens", "100000"]
    command += ["--max-wait-seconds", "60", "--backlog-drain-seconds", "15", "--batch-store", str(folder / "batch")]
    command += ["--batch-max-requests", str(count)]
    environment = {**os.environ, "PYTHONPATH": str(CODE)}
    return await asyncio.create_subprocess_exec(*command, env=environment, stderr=asyncio.subprocess.DEVNULL)


def read_rss_mib(process: asyncio.subprocess.Process) -> float:
    pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MIB


def write_input(path: Path, count: int) -> None:
    with path.open("w") as file:
        for number in range(count):
            body = {"model": "m", "prompt": PROMPT, "seed": number}
            file.write(json.dumps({"custom_id": f"r{number}", "method": "POST", "url": ENDPOINT, "body": body}) + "\n")


class Check:
    def __init__(self, folder: Path, report: Report, session: aiohttp.ClientSession) -> None:
        self._folder = folder
        self._report = report
        self._session = session
        self._server = InstantServer()

    async def run(self) -> None:
        report = self._report
        listener = await asyncio.start_unix_server(self._server.serve, str(self._folder / "s.sock"))
        process = await self._start()
        report.rss_at_rest_mib = read_rss_mib(process)
        try:
            began_at = time.monotonic()
            file_id = await self._upload()
            report.upload_seconds = round(time.monotonic() - began_at, 2)
            began_at = time.monotonic()
            asked = {"input_file_id": file_id, "endpoint": ENDPOINT, "completion_window": "24h"}
            batch_id = (await self._post("/v1/batches", asked))["id"]
            for number in range(report.kills):
                await self._watch(process, batch_id, report.requests * (number + 1) // (report.kills + 1))
                process.kill()
                await process.wait()
                process = await self._start()
            batch = await self._watch(process, batch_id, report.requests + 1)
            report.batch_seconds = round(time.monotonic() - began_at, 1)
            await self._judge(batch)
        finally:
            process.kill()
            await process.wait()
            listener.close()

    async def _start(self) -> asyncio.subprocess.Process:
        process = await start_gateway(self._folder, self._report.requests)
        while True:
            try:
                async with self._session.get(f"{URL}/ready") as response:
                    if response.status == 200:
                        return process
            except aiohttp.ClientError:
                if process.returncode is not None:
                    raise RuntimeError("the gateway does not start") from None
            await asyncio.sleep(0.1)

    async def _upload(self) -> str:
        path = self._folder / "input.jsonl"
        write_input(path, self._report.requests)
        with path.open("rb") as file:
            form = aiohttp.FormData({"purpose": "batch", "file": file})
            async with self._session.post(f"{URL}/v1/files", data=form) as response:
                answer = await response.json()
        return str(answer["id"])

    async def _post(self, path: str, body: object) -> dict[str, str]:
        async with self._session.post(URL + path, json=body) as response:
            return dict(await response.json())

    async def _watch(self, process: asyncio.subprocess.Process, batch_id: str, asked: int) -> dict[str, str]:
        """Returns the batch once it has ended, or so many requests were asked."""
        while True:
            self._report.rss_peak_mib = max(self._report.rss_peak_mib, read_rss_mib(process))
            async with self._session.get(f"{URL}/v1/batches/{batch_id}") as response:
                batch = dict(await response.json())
            if batch["status"] in ("completed", "failed", "expired") or len(self._server.asked) >= asked:
                return batch
            await asyncio.sleep(0.2)

    async def _judge(self, batch: dict[str, str]) -> None:
        report, asked = self._report, self._server.asked
        report.asked, report.asked_twice = asked.total(), asked.total() - len(asked)
        seen: Counter[str] = Counter()
        async with self._session.get(f"{URL}/v1/files/{batch['output_file_id']}/content") as response:
            async for line in response.content:
                seen[json.loads(line)["custom_id"]] += 1
        report.lines = seen.total()
        if report.lines != report.requests or len(seen) != report.requests:
            report.wrong = f"{report.lines} lines of {len(seen)} requests"
        elif report.asked_twice > report.kills * 2 * SLOTS:
            report.wrong = f"{report.asked_twice} requests were asked twice"
        elif (report.rss_peak_mib - report.rss_at_rest_mib) * MIB > GROWTH_LIMIT_BYTES:
            report.wrong = "the gateway's memory grew with the batch"


async def check(requests: int, kills: int) -> Report:
    report = Report(requests, kills)
    timeout = aiohttp.ClientTimeout(total=None)
    with tempfile.TemporaryDirectory() as folder:
        async with aiohttp.ClientSession(timeout=timeout) as session:
            await Check(Path(folder), report, session).run()
    return report


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench batch", description=__doc__)
    parser.add_argument("--requests", type=int, default=50_000)
    parser.add_argument("--kills", type=int, default=2)
    asked = parser.parse_args(words)
    report = asyncio.run(check(asked.requests, asked.kills))
    print(json.dumps(asdict(report)))
    return 1 if report.wrong else 0
