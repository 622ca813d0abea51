"""A bucket of a real S3 server on this machine."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "program"
"""gofakes3, which keeps a bucket in memory and knows conditions on a PUT."""


@pytest.fixture(scope="session")
def s3_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Builds the server once and runs it."""
    pytest.importorskip("obstore")
    if shutil.which("go") is None:
        pytest.skip("the S3 server is a Go program, and there is no go")
    binary = tmp_path_factory.mktemp("s3") / "s3"
    environment = {**os.environ, "CGO_ENABLED": "0"}
    built = subprocess.run(
        ["go", "build", "-o", str(binary), "."], cwd=PROGRAM, env=environment, capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    with subprocess.Popen([binary], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
        server.communicate()
