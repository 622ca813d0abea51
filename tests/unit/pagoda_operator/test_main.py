import os
import subprocess
import sys


def test_an_operator_that_cannot_start_ends_with_a_reason_as_its_last_word() -> None:
    environ = {**os.environ, "KUBECONFIG": "/nonexistent/kubeconfig"}
    environ.pop("KUBERNETES_SERVICE_HOST", None)
    done = subprocess.run(
        [sys.executable, "-m", "pagoda_operator"], env=environ, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert "the operator ends reason=" in done.stderr.splitlines()[-1]
