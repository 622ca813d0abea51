"""A real etcd, API server, controller manager and scheduler without nodes, in namespaces of their own."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "e2e" / "cluster"
HOME = os.environ.get("CLUSTER_HOME", str(Path.home() / ".cache" / "pagoda-cluster"))
METRICS_API_PORT = "6500"
STOP_SECONDS = 60.0


class ControlPlane:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.enter = str(folder / "in")

    def kubectl(self, *args: str, stdin: str | None = None) -> str:
        done = subprocess.run([self.enter, "kubectl", *args], input=stdin, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def get(self, *args: str) -> Any:
        return json.loads(self.kubectl("get", *args, "-o", "json"))

    def apply(self, *objects: dict[str, Any]) -> None:
        bundle = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(bundle))

    def writes(self) -> list[str]:
        """What the operator has asked the API server to write so far, its Lease apart; from the audit log."""
        lines = map(json.loads, (self.folder / "log" / "audit").read_text().splitlines())
        return [
            f"{line['verb']} {line['requestURI']}"
            for line in lines
            if line["userAgent"].startswith("pagoda-operator") and line["objectRef"]["resource"] != "leases"
        ]

    def start_operator(self, name: str, *more: str, kubeconfig: str = "") -> "subprocess.Popen[bytes]":
        flags = ["--metrics-port=18080", "--health-port=18081", f"--metrics-api-port={METRICS_API_PORT}", *more]
        kubeconfig = kubeconfig or str(self.folder / "pki" / "admin.kubeconfig")
        environ = {
            **os.environ,
            "PYTHONPATH": f"{ROOT / 'operator'}:{ROOT / 'server_image'}",
            "POD_NAME": name,
            "KUBECONFIG": kubeconfig,
        }
        with open(self.folder / "log" / name, "wb") as log:
            command = [sys.executable, "-m", "pagoda_operator", *flags]
            return self.start(command, cwd=ROOT, env=environ, stdout=log, stderr=log)

    def start(self, command: Sequence[str], **how: Any) -> "subprocess.Popen[bytes]":
        """NB: only the network is entered: with the pid namespace nsenter forks and a signal would not reach us."""
        enter = ["nsenter", "-t", (self.folder / "init.pid").read_text().strip(), "--net", "--"]
        return subprocess.Popen([*enter, *command], **how)

    @contextmanager
    def operator(self, name: str, *more: str, kubeconfig: str = "") -> Iterator["subprocess.Popen[bytes]"]:
        """One that is stopped however the block ends: the next test's needs its ports and its Lease."""
        process = self.start_operator(name, *more, kubeconfig=kubeconfig)
        try:
            yield process
        finally:
            stop(process)

    def log_of(self, name: str) -> str:
        return (self.folder / "log" / name).read_text()


def stop(process: "subprocess.Popen[bytes]") -> int:
    """Gives the exit code."""
    process.terminate()  # does nothing to one that has ended
    try:
        return process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise


def eventually(check: Callable[[], Any], *, seconds: float = 30.0) -> Any:
    """The first true answer; the last failure when there is none in time."""
    end = time.monotonic() + seconds
    while True:
        try:
            if found := check():
                return found
            error: Exception = AssertionError(f"never came true: {check}")
        except (AssertionError, KeyError, IndexError) as failed:
            error = failed
        if time.monotonic() > end:
            raise error
        time.sleep(0.3)


@contextmanager
def running_control_plane() -> Iterator[ControlPlane]:
    """With our CRDs and the operator's namespace."""
    folder = Path(tempfile.mkdtemp(prefix="pagoda-controlplane-"))
    run, environ = folder / "run", {**os.environ, "CLUSTER_RUN": str(folder / "run"), "NODES": "0"}
    try:
        subprocess.run([CLUSTER / "kubernetes-up.sh"], env=environ, check=True, timeout=120, stdout=subprocess.DEVNULL)
        plane = ControlPlane(run)
        plane.kubectl("apply", "--server-side", "-f", str(ROOT / "crds"))
        eventually(lambda: plane.kubectl("wait", "--for=condition=Established", "crd", "--all"))
        plane.kubectl("create", "namespace", "pagoda-system")
        yield plane
    finally:
        subprocess.run([CLUSTER / "kubernetes-down.sh"], env=environ, timeout=60, check=False)
        shutil.rmtree(folder, ignore_errors=True)
