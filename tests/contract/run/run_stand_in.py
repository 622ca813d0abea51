"""`pagoda run FILE PORT` as a program, with a model server without a model behind each gateway."""

import sys

import pytest

from pagoda_cli.local import run, session
from tests.contract.run.conftest import build_stand_in_pod

if __name__ == "__main__":
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "build_local_pod", build_stand_in_pod)
        sys.exit(run.run_source(sys.argv[1], session.RunOptions(port=int(sys.argv[2]))))
