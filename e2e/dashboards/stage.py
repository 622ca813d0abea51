"""What the pictures show: a real operator and real servers under load, scraped by a real Prometheus. No cluster.

The control plane is real but has no nodes; `node.py` stands in for them. One model is scaled, one is rolled out, one
finds no GPU, so that the boards have something to tell.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pagoda_operator.api import ModelDeployment
from pagoda_operator.objects.podmonitor import build_podmonitor
from tests.controlplane.plane import ControlPlane, running_control_plane, stop

from .node import Node
from .prometheus import Prometheus
from .scraping import build_config

Object = dict[str, Any]
TRAFFIC = Path(__file__).parent / "traffic.py"
ADDRESS = "127.0.0.1:9090"
SCRAPE_SECONDS = 5
TOO_LARGE_BYTES = 5 * 1024 * 1024
NAMESPACES = ("chat", "search")


def model(namespace: str, name: str, **spec: Any) -> Object:
    whole = {"model": {"uri": "bundled://pagoda-tiny"}, **spec}
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "pagoda.dev/v1alpha1", "kind": "ModelDeployment", "metadata": metadata, "spec": whole}


FEW_SLOTS = {"maxNumSeqs": 4}
"""So that a dozen clients have to queue."""
LLAMA = model("chat", "llama", replicas=1, engine=FEW_SLOTS)
LLAMA_70B = model("chat", "llama-70b", replicas=2)
QWEN = model("search", "qwen", autoscaling={"minReplicas": 1, "maxReplicas": 2})
MIXTRAL = model("search", "mixtral", replicas=1, resources={"gpus": 4}, engine={"tensorParallel": 4})
MODELS = (LLAMA, LLAMA_70B, QWEN, MIXTRAL)


@dataclass(slots=True)
class Stage:
    plane: ControlPlane
    node: Node
    prometheus: Prometheus
    folder: Path
    _traffic: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    def play(self, seconds: float, until: Callable[[], object] = lambda: False) -> None:
        """Lets time pass, and pods come and go, for so long or until something is so."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not until():
            self.node.step()
            for one in MODELS:
                name = one["metadata"]["name"]
                new = self._urls(name).with_suffix(".new")
                new.write_text(json.dumps(self.node.urls(name)))
                new.replace(self._urls(name))  # at once: clients read it meanwhile
            time.sleep(1)

    def ready(self, name: str) -> int:
        return len(self.node.urls(name))

    def start_traffic(self, name: str, *, clients: int, seconds: float) -> None:
        command = [sys.executable, str(TRAFFIC), str(self._urls(name)), "--model", name]
        command += ["--clients", str(clients), "--seconds", str(seconds)]
        with (self.folder / f"traffic-{name}-{len(self._traffic)}").open("wb") as log:
            self._traffic.append(self.plane.start(command, stdout=log, stderr=log))

    def send_too_much(self, name: str) -> None:
        """Sends each pod a body that the gateway refuses: a refusal that needs no load."""
        body = self.folder / "body"
        body.write_bytes(b"x" * TOO_LARGE_BYTES)
        send = ("curl", "-s", "-o", "/dev/null", "-H", "Content-Type: application/json", "--data-binary", f"@{body}")
        for url in self.node.urls(name):
            self.prometheus.run(*send, f"{url}/chat/completions", check=False)

    def end(self) -> None:
        for process in self._traffic:
            process.kill()
            process.wait()
        self.node.end_all()

    def _urls(self, name: str) -> Path:
        return self.folder / f"{name}.urls"


@contextmanager
def open_stage(folder: Path, prometheus: Path) -> Iterator[Stage]:
    with ExitStack() as stack:
        plane = stack.enter_context(running_control_plane())
        for namespace in NAMESPACES:
            plane.kubectl("create", "namespace", namespace)
        stack.enter_context(plane.operator("pagoda-7c9d4"))
        scraper = _start_prometheus(plane, folder, prometheus)
        stack.callback(stop, scraper)
        run = _runner(plane)
        stage = Stage(plane, Node(plane, folder / "pods"), Prometheus(f"http://{ADDRESS}", run), folder)
        stack.callback(stage.end)
        stage.node.join()
        plane.apply(*MODELS)
        yield stage


def perform(stage: Stage) -> None:
    """Plays the scene, about five minutes."""
    stage.play(120, lambda: stage.ready("llama") and stage.ready("qwen") and stage.ready("llama-70b") == 2)
    for name, clients in (("llama", 2), ("llama-70b", 3), ("qwen", 1)):
        stage.start_traffic(name, clients=clients, seconds=900)
    stage.play(60)
    stage.start_traffic("llama", clients=12, seconds=110)
    stage.play(25)
    stage.send_too_much("llama")
    stage.plane.apply(model("chat", "llama", replicas=3, engine=FEW_SLOTS))
    stage.play(90, lambda: stage.ready("llama") == 3)
    stage.play(40)
    stage.plane.apply(model("chat", "llama-70b", replicas=2, queue={"maxQueued": 200}))
    stage.send_too_much("llama")
    stage.play(85)


def _start_prometheus(plane: ControlPlane, folder: Path, prometheus: Path) -> "subprocess.Popen[bytes]":
    monitors = [monitor for one in MODELS if (monitor := build_podmonitor(ModelDeployment.model_validate(one)))]
    kubeconfig = str(plane.folder / "pki" / "admin.kubeconfig")
    config = build_config(monitors, kubeconfig=kubeconfig, interval_seconds=SCRAPE_SECONDS)
    labels = {"namespace": "pagoda-system", "pod": "pagoda-7c9d4"}
    operator = {"targets": ["127.0.0.1:18080"], "labels": labels}
    config["scrape_configs"].append({"job_name": "operator", "honor_labels": True, "static_configs": [operator]})
    (folder / "prometheus.json").write_text(json.dumps(config))
    command = [str(prometheus), f"--config.file={folder}/prometheus.json", f"--storage.tsdb.path={folder}/tsdb"]
    with (folder / "prometheus.log").open("wb") as log:
        return plane.start([*command, f"--web.listen-address={ADDRESS}", "--log.level=warn"], stdout=log, stderr=log)


def _runner(plane: ControlPlane) -> Callable[..., str]:
    def run(*command: str, check: bool = True) -> str:
        return subprocess.run([plane.enter, *command], capture_output=True, text=True, check=check).stdout

    return run
