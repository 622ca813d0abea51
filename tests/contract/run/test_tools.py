"""The bundled model with tools, as `pagoda run` serves it: the agent of the e2e story runs against it unchanged."""

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from e2e.tools.conversation import AGENT, CONVERSATIONS
from pagoda_cli.local.public_socket import find_free_port
from tests.contract.run.test_program import LIMIT_SECONDS, Program, read_until


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path)


async def run_agent(url: str, question: str, *how: str) -> str:
    command = (sys.executable, str(AGENT), url, question, "--model", "pagoda-tiny", *how)
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(LIMIT_SECONDS):
        printed, said = await process.communicate()
    assert process.returncode == 0, said.decode()
    return printed.decode()


async def test_an_agent_calls_tools_and_answers_with_their_results(program: Program) -> None:
    port = find_free_port()
    process = await program.start("run", "bundled://pagoda-tiny", "--port", str(port))
    try:
        await read_until(process, "Ready")
        for expected in CONVERSATIONS:
            for how in ((), ("--stream",)):
                expected.check(await run_agent(f"http://127.0.0.1:{port}/v1", expected.question, *how))
    finally:
        process.send_signal(signal.SIGINT)
        await process.communicate()
    assert process.returncode == 0 and program.left == []
