"""Runs the pods of a control plane without nodes as processes: a kubelet as far as our own pods need one.

The pods are those that the real operator made; their gateways and servers are the real ones. It gives each pod an
address, which the operator, the API server, Prometheus and clients use as they would the pod's.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pagoda_cli.local.plan import POD_ONLY, Folders, place_program, read_environment
from tests.controlplane.plane import ROOT, ControlPlane

Object = dict[str, Any]
Process = subprocess.Popen[bytes]
LABEL = "pagoda.dev/model-deployment"
NAME = "here"
CAPACITY = {"cpu": "64", "memory": "256Gi", "ephemeral-storage": "1Ti", "pods": "110"}
STOP_SECONDS = 10.0
DRAIN_SECONDS = 20
PODS = "198.51.100"
"""NB: never loopback, to which the API server relays nothing."""


@dataclass(frozen=True, slots=True)
class RunningPod:
    pod: Object
    ip: str
    processes: tuple[Process, ...]

    @property
    def model(self) -> str:
        return str(self.pod["metadata"]["labels"][LABEL])


@dataclass(slots=True)
class Node:
    plane: ControlPlane
    folder: Path
    _running: dict[str, RunningPod] = field(default_factory=dict)
    _ready: set[str] = field(default_factory=set)
    _taken: set[str] = field(default_factory=set)
    """Pods that were started, or are being started in a thread of their own: a heartbeat must not wait for one."""
    _leaving: set[str] = field(default_factory=set)

    def step(self) -> None:
        """Starts pods that are new, ends those that are gone, and tells the API server of those that became ready."""
        self._beat()
        pods = {pod["metadata"]["uid"]: pod for pod in self.plane.get("pods", "-A", "-l", LABEL)["items"]}
        for uid in set(self._running) - set(pods):
            self._end(uid)
        for uid, pod in pods.items():
            if "deletionTimestamp" in pod["metadata"]:
                if uid not in self._leaving:
                    self._leaving.add(uid)
                    threading.Thread(target=self._let_go, args=(uid, pod), daemon=True).start()
            elif uid not in self._taken and pod["spec"].get("nodeName") == NAME:
                self._taken.add(uid)
                threading.Thread(target=self._start, args=(uid, pod, len(self._taken)), daemon=True).start()
        for uid, running in list(self._running.items()):
            if uid in self._leaving or (uid in self._ready and uid in pods and _is_ready(pods[uid])):
                continue  # NB: one whose node was late with a heartbeat is told again
            if uid in pods and self._answers(running.ip):
                self._tell_ready(running)
                self._ready.add(uid)

    def urls(self, model: str) -> list[str]:
        """Returns where the ready pods of a model are reached, as its Service would know them."""
        ready = [self._running[uid] for uid in sorted(self._ready) if uid in self._running]
        return [f"http://{one.ip}:8000/v1" for one in ready if one.model == model]

    def end_all(self) -> None:
        for uid in list(self._running):
            self._end(uid)

    def join(self) -> None:
        """Makes the node known, as ready and with room: the real scheduler then places pods on it."""
        subprocess.run([self.plane.enter, "ip", "route", "add", "local", f"{PODS}.0/24", "dev", "lo"], check=True)
        self.plane.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NAME}})
        self._beat()

    def _beat(self) -> None:
        now = _now()
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": now}
        status = {"capacity": CAPACITY, "allocatable": CAPACITY, "conditions": [ready]}
        self._patch_status("node", NAME, status)

    def _let_go(self, uid: str, pod: Object) -> None:
        """Ends a pod that was deleted, as a kubelet would: by its preStop, which drains it, then by signals."""
        self._ready.discard(uid)
        if uid in self._running:
            drain = f"http://{self._running[uid].ip}:8001/drain?seconds={DRAIN_SECONDS}"
            self._ask("-X", "POST", "-H", "X-Pagoda-Admin: 1", "-m", str(DRAIN_SECONDS + 5), drain)
            self._end(uid)
        meta = pod["metadata"]
        now = ("--grace-period=0", "--force", "--ignore-not-found")
        self.plane.kubectl("-n", meta["namespace"], "delete", "pod", meta["name"], *now)

    def _patch_status(self, kind: str, name: str, status: Object, *more: str) -> None:
        patch = ("--subresource=status", "--type=merge", "-p", json.dumps({"status": status}))
        self.plane.kubectl(*more, "patch", kind, name, *patch)

    def _start(self, uid: str, pod: Object, number: int) -> None:
        ip = f"{PODS}.{number}"
        home = self.folder / str(number)
        folders = Folders(home / "run", home / "models", home / "etc", home / "batch")
        for folder in (folders.run, folders.models, folders.etc):
            folder.mkdir(parents=True)
        spec = pod["spec"]
        setup = [one for one in spec.get("initContainers", []) if one.get("restartPolicy") != "Always"]
        sidecars = [one for one in spec.get("initContainers", []) if one.get("restartPolicy") == "Always"]
        for container in setup:
            self._run(container, pod, ip, folders).wait(120)
        kept = tuple(self._run(container, pod, ip, folders) for container in (*spec["containers"], *sidecars))
        self._running[uid] = RunningPod(pod, ip, kept)

    def _run(self, container: Object, pod: Object, ip: str, folders: Folders) -> Process:
        fields = {"status.podIP": ip, "status.hostIP": "127.0.0.1", "metadata.name": pod["metadata"]["name"]}
        given = read_environment([*_fill(container.get("env", []), fields)], pod["metadata"]["name"], {})
        words = [folders.place(word) for word in _place(container, ip, given)]
        own = {key: folders.place(value) for key, value in given.items() if key not in POD_ONLY}
        code = f"{ROOT / 'operator'}:{ROOT / 'server_image'}"
        environ = {**os.environ, **own, "PYTHONPATH": code, "OMP_NUM_THREADS": "1"}
        with (folders.run.parent / f"{container['name']}.log").open("wb") as log:
            return self.plane.start(place_program(words, sys.executable), env=environ, stdout=log, stderr=log)

    def _answers(self, ip: str) -> bool:
        return self._ask("-m", "2", f"http://{ip}:8000/ready") == "200"

    def _ask(self, *words: str) -> str:
        """Returns the status of an answer."""
        ask = (self.plane.enter, "curl", "-s", "--noproxy", "*", "-o", "/dev/null", "-w", "%{http_code}", *words)
        return subprocess.run(ask, capture_output=True, text=True, check=False).stdout

    def _tell_ready(self, running: RunningPod) -> None:
        meta, now = running.pod["metadata"], _now()
        met = [
            {"type": kind, "status": "True", "lastTransitionTime": now}
            for kind in ("PodScheduled", "Initialized", "ContainersReady", "Ready")
        ]
        status = {"phase": "Running", "podIP": running.ip, "podIPs": [{"ip": running.ip}], "startTime": now}
        self._patch_status("pod", meta["name"], {**status, "conditions": met}, "-n", meta["namespace"])

    def _end(self, uid: str) -> None:
        self._ready.discard(uid)
        running = self._running.pop(uid, None)
        processes = running.processes if running else ()
        for process in processes:
            process.terminate()
        for process in processes:
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _is_ready(pod: Object) -> bool:
    return any(one["type"] == "Ready" and one["status"] == "True" for one in pod["status"].get("conditions", []))


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _fill(items: list[Object], fields: Mapping[str, str]) -> Iterator[Object]:
    for item in items:
        path = item.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath", "")
        yield {"name": item["name"], "value": fields[path]} if path in fields else item


def _place(container: Object, ip: str, given: Mapping[str, str]) -> Iterator[str]:
    """Yields the command's words, its addresses at the pod's own."""
    before = ""
    for word in (*container.get("command", []), *container.get("args", [])):
        for name, value in given.items():
            word = word.replace(f"$({name})", value)
        host, _, port = word.rpartition(":")
        yield f"{ip}:{port}" if before in ("--listen", "--admin") and host else word
        before = word
