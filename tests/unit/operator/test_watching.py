"""What Kopf's watches say in the log."""

import asyncio
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from pagoda_operator.handlers.watching import watch
from pagoda_operator.settings import Settings


class Busy(BaseHTTPRequestHandler):
    """An API server that is not there yet, as for a moment after a change of the CRD."""

    def do_GET(self) -> None:
        self.send_response(429)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None: ...


@contextmanager
def busy_api() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Busy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with busy_api() as url:
        context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
        config = {
            "clusters": [{"name": "c", "cluster": {"server": url}}],
            "contexts": [context],
            "users": [{"name": "u", "user": {"token": "t"}}],
            "current-context": "c",
        }
        path = tmp_path / "kubeconfig"
        path.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", **config}))
        monkeypatch.setenv("KUBECONFIG", str(path))
        yield


class Records(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[logging.LogRecord] = []
        self.any = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if "will retry" in record.getMessage():
            self.seen.append(record)
            self.any.set()


@pytest.mark.usefixtures("kubeconfig")
async def test_a_request_that_is_tried_again_is_a_warning_and_no_error() -> None:
    records, stop = Records(), threading.Event()
    logging.getLogger("kopf").addHandler(records)
    watching = asyncio.create_task(watch(Settings(), (), lambda event, obj: None, stop=stop))
    try:
        assert await asyncio.to_thread(records.any.wait, 30)
    finally:
        stop.set()
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        logging.getLogger("kopf").removeHandler(records)
    assert {record.levelname for record in records.seen} == {"WARNING"}
