"""The bundled model as `pagoda run` serves it: a real gateway and a real server."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer

from pagoda_cli.local.public_socket import find_free_port

START_SECONDS = 180
"""That nothing waits for ever; no claim about speed."""


@contextmanager
def serve_tiny(folder: Path) -> Iterator[str]:
    """Yields the base URL once the model is ready."""
    port = find_free_port()
    paths = os.pathsep.join(path for path in sys.path if path.endswith(("operator", "server_image")))
    own = {"PYTHONPATH": paths, "XDG_CACHE_HOME": str(folder / "cache"), "TMPDIR": str(folder)}
    process = subprocess.Popen(
        (sys.executable, "-m", "pagoda_cli.main", "run", "bundled://pagoda-tiny", "--port", str(port)),
        env=os.environ | own,
        stderr=subprocess.PIPE,
        text=True,
    )
    limit = Timer(START_SECONDS, process.kill)
    limit.start()
    try:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if " Ready " in line:
                break
        limit.cancel()
        assert process.poll() is None, "".join(said)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        limit.cancel()
        process.terminate()
        process.communicate()
