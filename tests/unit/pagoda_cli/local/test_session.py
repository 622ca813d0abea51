"""`pagoda run` with stand-in programs for the gateway and the server: the life of a session, without a model."""

import asyncio
import socket
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from pagoda_cli.local import session as run_session
from pagoda_cli.local.pod import LocalPod
from pagoda_cli.local.public_socket import find_free_port
from pagoda_cli.local.replica import SetupError, is_ready
from pagoda_cli.local.session import RunOptions, Session, Voice
from pagoda_cli.local.spec_file import read_spec_file

STAND_IN = """
import asyncio
import socket
import sys
from aiohttp import web

def option(name):
    return sys.argv[sys.argv.index(name) + 1]

async def ready(request):
    return web.Response(text=option("--name"))

async def chat(request):
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for word in ("Hello", " there"):
        await response.write(b'data: {"choices":[{"delta":{"content":"%s"}}]}\\n\\n' % word.encode())
    await response.write(b'data: {"choices":[],"usage":{"completion_tokens":2}}\\n\\ndata: [DONE]\\n\\n')
    return response

app = web.Application()
app.router.add_get("/ready", ready)
app.router.add_post("/v1/chat/completions", chat)

async def serve_gateway():
    runner = web.AppRunner(app)
    await runner.setup()
    await web.SockSite(runner, socket.socket(fileno=int(option("--listen")[5:]))).start()
    await web.TCPSite(runner, "127.0.0.1", int(option("--admin").split(":")[1])).start()
    await asyncio.Event().wait()

if "--listen" in sys.argv:
    asyncio.run(serve_gateway())
else:
    web.run_app(app, path=option("--socket"), print=None)
"""
YAML = """
apiVersion: pagoda.dev/v1alpha1
kind: ModelDeployment
metadata: {name: tiny}
spec: {model: {uri: "bundled://pagoda-tiny"}, rollout: {drainSeconds: 1}}
"""


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunOptions:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = tmp_path / "m.yaml"
    file.write_text(YAML)
    return RunOptions(file=file, port=find_free_port(), ask="Hi", once=True)


def make_pod(program: Path, setup_code: str = "pass") -> Callable[[object], LocalPod]:
    run = [sys.executable, str(program), "--name", "a"]
    spec = {
        "initContainers": [
            {"name": "fetch", "command": [sys.executable, "-c", setup_code]},
            {"name": "gateway", "restartPolicy": "Always", "command": [*run, "--listen", "a:1", "--admin", "a:2"]},
        ],
        "containers": [{"name": "server", "command": [*run, "--socket", "/run/pagoda/server.sock"]}],
    }
    return lambda _: LocalPod("tiny", "bundled://pagoda-tiny", "tiny", 1, 1, spec)


def build_session(options: RunOptions, root: Path, said: list[str]) -> Session:
    root.mkdir()
    assert options.file is not None
    return Session(options, read_spec_file(options.file), root, Voice(lambda condition, _: said.append(condition)))


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "stand_in.py"
    path.write_text(textwrap.dedent(STAND_IN))
    return path


async def test_question_is_answered_and_everything_stops(
    options: RunOptions,
    program: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(run_session, "build_local_pod", make_pod(program))
    said: list[str] = []
    session = build_session(options, tmp_path / "r", said)
    await asyncio.wait_for(session.work(), 30)
    await session.close()
    assert said == ["Fetching", "Starting", "Ready", "Draining"]
    printed = capsys.readouterr().out
    assert "Hello there" in printed
    assert "2 tokens, " in printed
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", options.port)) != 0


async def test_failed_fetch_is_the_error_of_the_session(
    options: RunOptions, program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "import sys; sys.exit('ModelNotFound: URI x')"
    monkeypatch.setattr(run_session, "build_local_pod", make_pod(program, code))
    session = build_session(options, tmp_path / "r", [])
    with pytest.raises(SetupError, match="ModelNotFound: URI x"):
        await asyncio.wait_for(session.work(), 30)
    await session.close()


async def test_changed_file_rolls_over_on_the_same_port(
    options: RunOptions, program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_session, "build_local_pod", make_pod(program))
    said: list[str] = []
    session = build_session(RunOptions(options.file, options.port), tmp_path / "r", said)
    work = asyncio.create_task(session.work())
    assert options.file is not None
    async with asyncio.timeout(60):
        while "Ready" not in said:
            await asyncio.sleep(0.05)
        options.file.write_text("not: [")
        while "Unchanged" not in said:
            await asyncio.sleep(0.05)
        options.file.write_text(YAML + "# a comment\n")
        while "NoChange" not in said:
            await asyncio.sleep(0.05)
        assert said.count("Ready") == 1
        options.file.write_text(YAML.replace("drainSeconds: 1", "drainSeconds: 2"))
        while said.count("Ready") < 2:
            await asyncio.sleep(0.05)
        assert await is_ready(f"http://127.0.0.1:{options.port}/ready")
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    await session.close()
