"""Compare a folder of CRDs with what the API models generate; writes only into a temporary folder."""

import tempfile
from collections.abc import Callable
from pathlib import Path


def find_differences(folder: Path, write: Callable[[Path], object]) -> list[str]:
    """Names of files that are missing, superfluous or different in `folder`."""
    with tempfile.TemporaryDirectory() as temporary:
        write(Path(temporary))
        expected = _read_yaml_files(Path(temporary))
    actual = _read_yaml_files(folder)
    return sorted(name for name in expected.keys() | actual.keys() if expected.get(name) != actual.get(name))


def _read_yaml_files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.yaml")}
