"""A folder of its own for each client, from its lock.

It is gone afterwards; what was fetched stays in the caches of uv and npm.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.clients.known import LOCKS, Client

UV = str(Path(sys.executable).with_name("uv"))
LIMIT_SECONDS = 900
"""That nothing waits for ever; no claim about speed."""


@contextmanager
def install(client: Client) -> Iterator[list[str]]:
    """Yields the command that runs the client's program."""
    with tempfile.TemporaryDirectory(prefix=f"pagoda-{client.name}-") as name:
        folder = Path(name)
        yield _install_node(client, folder) if client.is_node else _install_python(client, folder)


def _install_python(client: Client, folder: Path) -> list[str]:
    _run(UV, "venv", "--quiet", "--python", sys.executable, str(folder / "venv"))
    python = str(folder / "venv/bin/python")
    lock = str(LOCKS / f"{client.name}.txt")
    _run(UV, "pip", "install", "--quiet", "--python", python, "--require-hashes", "-r", lock)
    return [python, str(client.program)]


def _install_node(client: Client, folder: Path) -> list[str]:
    """NB: node looks for packages beside the program, so the program goes to where they are."""
    shutil.copytree(LOCKS / client.name, folder, dirs_exist_ok=True)
    for program in client.program.parent.glob("*.mjs"):
        shutil.copy(program, folder)
    _run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent", cwd=folder)
    return ["node", str(folder / client.program.name)]


def _run(*command: str, cwd: Path | None = None) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=LIMIT_SECONDS, env=build_environ())
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"


def build_environ() -> dict[str, str]:
    """Returns what a program of somebody else's has: nothing that makes it find this repository, or a real key."""
    hidden = ("PYTHON", "VIRTUAL_ENV", "OPENAI_", "ANTHROPIC_", "HF_", "NODE_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(hidden)}
    return kept
