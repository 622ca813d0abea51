"""What Kopf's watches say in the log, and that whoever watches hears of their end."""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from pagoda_operator.cluster.watch import WatchEnded, watch
from pagoda_operator.kube.kinds import MODEL_DEPLOYMENT
from pagoda_operator.settings import Settings


class Refusing(BaseHTTPRequestHandler):
    """An API server that is not there yet, as for a moment after a change of the CRD, or in trouble."""

    status = 429

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None: ...


class Gone(Refusing):
    status = 410


@contextmanager
def api_server(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[None]:
    with api_server(request.param) as url:
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
@pytest.mark.parametrize("kubeconfig", [Refusing], indirect=True)
async def test_a_request_that_is_tried_again_is_a_warning_and_no_error() -> None:
    records, stop = Records(), asyncio.Event()
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


@pytest.mark.usefixtures("kubeconfig")
@pytest.mark.parametrize("kubeconfig", [Gone], indirect=True)
async def test_a_refusal_that_ends_kopf_is_told_and_without_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    async with asyncio.timeout(30):
        with pytest.raises(WatchEnded, match="410"):
            await watch(Settings(), [MODEL_DEPLOYMENT], lambda event, obj: None, stop=asyncio.Event())
    assert "Resource observer has failed" in caplog.text
    assert [record.getMessage() for record in caplog.records if record.exc_info] == []


class Silent(Refusing):
    """It takes a request and never answers."""

    def do_GET(self) -> None:
        threading.Event().wait(20)


@pytest.mark.usefixtures("kubeconfig")
@pytest.mark.parametrize("kubeconfig", [Silent], indirect=True)
async def test_a_watch_that_shows_nothing_ends(caplog: pytest.LogCaptureFixture) -> None:
    async with asyncio.timeout(30):
        with pytest.raises(WatchEnded, match="shows nothing"):
            await watch(Settings(), [MODEL_DEPLOYMENT], lambda *_: None, stop=asyncio.Event(), is_silent=lambda: True)


async def hang() -> None:
    """As Kopf's tasks do: it swallows that it is cancelled, and waits again for what will not come."""
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()


async def test_a_thread_of_kopf_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pagoda_operator.cluster.watch.END_SECONDS", 0.1)
    monkeypatch.setattr("pagoda_operator.cluster.watch.CLEAN_UP_SECONDS", 0.5)
    monkeypatch.setattr("kopf.operator", lambda **_: hang())
    stop = asyncio.Event()
    watching = asyncio.create_task(watch(Settings(), (), lambda *_: None, stop=stop))
    while not (threads := [thread for thread in threading.enumerate() if thread.name == "watch"]):
        await asyncio.sleep(0.01)
    stop.set()
    async with asyncio.timeout(10):
        with contextlib.suppress(WatchEnded):
            await watching
    for thread in threads:
        thread.join(5)  # it has said that it ends
        assert not thread.is_alive()
