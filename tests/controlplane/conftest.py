import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from .plane import HOME, ControlPlane, running_control_plane


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    if not (Path(HOME) / "bin" / "kube-apiserver").exists():
        pytest.skip("the test control plane is not built: e2e/cluster/build.sh test")
    if os.geteuid() != 0 or shutil.which("nsenter") is None:
        pytest.skip("the test control plane needs root and nsenter")
    with running_control_plane() as plane:
        yield plane
