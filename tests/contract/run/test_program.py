"""`pagoda run` as a program: what a user sees on the terminal, the exit code, and what is left behind."""

import asyncio
import json
import os
import re
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from pagoda_cli.local.gpus import has_driver
from pagoda_cli.local.public_socket import find_free_port
from tests.contract.hub.conftest import Hub, hub  # noqa: F401
from tests.contract.run.conftest import Run

ROOT = Path(__file__).parents[3]
LIMIT_SECONDS = 180
"""That nothing waits for ever; no claim about speed."""
TINY = """
apiVersion: pagoda.dev/v1alpha1
kind: ModelDeployment
metadata: {name: tiny}
spec:
  model: {uri: "%s"}
  resources: {gpus: 0}
"""


@dataclass(frozen=True)
class Ended:
    code: int
    said: str
    answer: str

    @property
    def conditions(self) -> list[str]:
        return [line.split()[1] for line in self.said.splitlines()]

    @property
    def last_line(self) -> str:
        return self.said.splitlines()[-1]


@dataclass
class Program:
    """`pagoda run` in folders of its own."""

    folder: Path

    async def start(self, *words: str, module: str = "pagoda_cli.main", **environ: str) -> asyncio.subprocess.Process:
        (self.folder / "tmp").mkdir(exist_ok=True)
        paths = [path for path in sys.path if path.endswith(("operator", "server_image"))]
        own = {"PYTHONPATH": os.pathsep.join([str(ROOT), *paths]), "TMPDIR": str(self.folder / "tmp")}
        kept = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", module, *words),
            cwd=ROOT,
            env=kept | own | {"XDG_CACHE_HOME": str(self.folder / "cache")} | environ,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def run(self, *words: str, stdin: str = "", **environ: str) -> Ended:
        process = await self.start("run", *words, "--port", str(find_free_port()), **environ)
        async with asyncio.timeout(LIMIT_SECONDS):
            answer, said = await process.communicate(stdin.encode())
        assert process.returncode is not None
        return Ended(process.returncode, said.decode(), answer.decode())

    @property
    def left(self) -> list[str]:
        folders = [path for path in (self.folder / "tmp").iterdir() if path.name.startswith("pagoda-run-")]
        return [str(path.relative_to(folder)) for folder in folders for path in folder.rglob("*") if path.is_file()]


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path)


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda path: path.name)
async def test_every_example_runs_as_it_is(program: Program, path: Path) -> None:
    needs_gpu = "gpus: 1" in path.read_text()
    if needs_gpu and has_driver():
        pytest.skip("it would download its model")
    ended = await program.run(str(path), "--ask", "What is a pod?", "--once")
    if needs_gpu:
        assert ended.code == 1 and "this machine has no CUDA GPU: set resources.gpus: 0" in ended.last_line
    else:
        assert ended.code == 0, ended.said
        assert "pod is" in ended.answer and ended.conditions[-1] == "Stopped"
    assert program.left == []


async def test_a_model_needs_no_file_and_tells_its_phases_and_seconds(program: Program) -> None:
    ended = await program.run("bundled://pagoda-tiny", "--ask", "What is a pod?", "--once", "--logs")
    assert ended.code == 0, ended.said
    assert re.search(r"Starting    load code \d+\.\d s\n", ended.said)
    assert re.search(r"Ready       http://127\.0\.0\.1:\d+/v1 model=pagoda-tiny after \d+\.\d s\n", ended.said)
    assert re.search(r"\nserver   \| .* engine built ", ended.said) and "\ngateway  | " in ended.said
    assert "\x1b" not in ended.said


async def test_standard_input_is_a_file_and_a_length_beyond_the_model_is_refused_by_its_field(program: Program) -> None:
    text = TINY % "bundled://pagoda-tiny" + "  engine: {maxModelLen: 9999}\n"
    ended = await program.run("-", stdin=text)
    assert ended.code == 1
    assert ended.last_line.endswith(
        "Failed      engine.maxModelLen is 9999 but the model knows 2048 positions; lower it"
    )
    assert "Starting" not in ended.conditions and program.left == []


async def test_a_length_beyond_the_model_is_refused_before_its_weights_are_downloaded(
    program: Program,
    hub: Hub,  # noqa: F811
) -> None:
    config = json.loads((ROOT / "server_image/sample_model/pagoda-tiny/config.json").read_text())
    hub.files["config.json"] = json.dumps(config).encode()
    text = TINY % "hf://org/name" + "  engine: {maxModelLen: 9999}\n"
    ended = await program.run("-", stdin=text, HF_ENDPOINT=hub.url, HF_HUB_DISABLE_XET="1")
    assert ended.code == 1 and "engine.maxModelLen is 9999" in ended.last_line, ended.said
    assert hub.got == ["config.json"]


async def test_a_wrong_file_starts_nothing(program: Program) -> None:
    ended = await program.run("-", stdin=TINY % "bundled://pagoda-tiny" + '  replicas: "2"\n')
    assert (ended.code, ended.answer) == (1, "")
    assert ended.said == "standard input: spec.replicas: must be a whole number (got '2'): write it without quotes\n"


async def test_a_taken_port_leaves_nothing(program: Program) -> None:
    async with await asyncio.start_server(lambda *_: None, "127.0.0.1", 0) as taken:
        port = taken.sockets[0].getsockname()[1]
        process = await program.start("run", "bundled://pagoda-tiny", "--port", str(port))
        _, said = await process.communicate()
    assert process.returncode == 1
    assert re.search(rf"Failed      --port: {port} cannot be had: .* --port \d+\n$", said.decode())
    assert program.left == []


async def read_until(process: asyncio.subprocess.Process, condition: str) -> None:
    assert process.stderr is not None
    async with asyncio.timeout(LIMIT_SECONDS):
        while f" {condition} ".encode() not in (line := await process.stderr.readline()):
            assert line, "it has ended"


@pytest.mark.parametrize("condition", ["Starting", "Ready"])
async def test_stopped_is_the_last_word_after_ctrl_c_at_any_time(run: Run, program: Program, condition: str) -> None:
    run.write("tiny")
    run.set_ready(condition == "Ready")
    words = (str(run.file), str(run.port))
    process = await program.start(*words, module="tests.contract.run.run_stand_in")
    await read_until(process, condition)
    process.send_signal(signal.SIGINT)
    async with asyncio.timeout(LIMIT_SECONDS):
        _, said = await process.communicate()
    assert process.returncode == 0
    assert said.decode().splitlines()[-1].split(maxsplit=1)[1] == "Stopped     every process has ended"
    assert program.left == []


async def test_a_server_that_never_becomes_ready_ends_the_run_and_its_log_is_kept(run: Run, program: Program) -> None:
    run.write("tiny")
    (run.folder / "crash").write_text("RuntimeError: no such kernel")
    process = await program.start(str(run.file), str(run.port), module="tests.contract.run.run_stand_in")
    async with asyncio.timeout(LIMIT_SECONDS):
        _, said = await process.communicate()
    ended = Ended(process.returncode or 0, said.decode(), "")
    assert ended.code == 1 and ended.conditions.count("Restarting") == 2
    why = "server: never ready in 3 starts: exit code 1: RuntimeError: no such kernel"
    assert re.fullmatch(rf".* Failed      {why} \(logs: .*/pagoda-run-\w+\)", ended.last_line)
    assert {Path(name).name for name in program.left} == {"owner", "server.log", "fetch.log"}


async def test_a_server_that_refuses_ends_the_run_at_its_first_start(run: Run, program: Program) -> None:
    run.write("tiny")
    (run.folder / "refuse").write_text("max_num_seqs is 9; lower it")
    process = await program.start(str(run.file), str(run.port), module="tests.contract.run.run_stand_in")
    async with asyncio.timeout(LIMIT_SECONDS):
        _, said = await process.communicate()
    ended = Ended(process.returncode or 0, said.decode(), "")
    assert ended.code == 1 and "Restarting" not in ended.conditions
    assert "Failed      server: engine.maxNumSeqs is 9; lower it" in ended.last_line
