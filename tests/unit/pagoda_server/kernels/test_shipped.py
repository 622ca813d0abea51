"""A server finds the kernels that its image was built with, and writes nothing there."""

import json
import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parent / "start_with_shipped.py"


def run_script(what: str, shipped: Path) -> list[str]:
    """What was compiled."""
    own, stub = shipped.with_name("own"), shipped.with_name("stub")
    stub.mkdir(exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    command: list[str | Path] = [sys.executable, SCRIPT, what, shipped, own, stub]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    found: list[str] = json.loads(done.stdout)
    return found


def test_a_start_with_shipped_kernels_compiles_nothing(tmp_path: Path) -> None:
    shipped = tmp_path / "shipped"
    compiled = run_script("compile", shipped)
    assert {"_decode_kernel", "_prefill_kernel", "choose_kernel", "cuda_utils", "__triton_launcher"} <= set(compiled)
    moved = shipped.rename(tmp_path / "moved")
    files = sorted(moved.rglob("*"))
    assert run_script("start", moved) == []
    assert sorted(moved.rglob("*")) == files
    assert not [path for path in (tmp_path / "own").rglob("*") if path.is_file()]
