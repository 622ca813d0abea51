"""The rig of the end-to-end tests: a real cluster, our chart in it, and small verbs to act on both.

By default the cluster of e2e/cluster is brought up and our images are built and pushed to it. CLUSTER=current uses the
kubeconfig's cluster as it is; there CONTROL_IMAGE and SERVER_IMAGE (repository:tag) and INGRESS_URL say what to test.
"""

import json
import os
import re
import subprocess
import sys
import sysconfig
import time
import uuid
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import pytest

E2E = Path(__file__).parent
ROOT = E2E.parent
SYSTEM = "pagoda-system"
CHART = os.environ.get("CHART", "helm/pagoda")
Object = dict[str, Any]
T = TypeVar("T")


def wait_for(predicate: Callable[[], T], timeout: float, describe: str | Callable[[], object]) -> T:
    """The first true value of the predicate; after `timeout` seconds it fails with the description of the world."""
    deadline = time.monotonic() + timeout
    while True:
        if value := predicate():
            return value
        if time.monotonic() > deadline:
            pytest.fail(f"after {timeout:g} s still not: {describe() if callable(describe) else describe}")
        time.sleep(0.3)


@dataclass(frozen=True, slots=True)
class Said:
    """What a program printed, and how it ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True)
class Cluster:
    enter: tuple[str, ...]
    control_image: str
    server_image: str
    ingress_url: str
    state: str = ""
    """The folder with the rig's own logs; empty on a cluster of somebody else."""

    def run(self, *command: str, stdin: str | None = None, check: bool = True, timeout: float = 180) -> str:
        """Runs a command inside the cluster's namespaces; gives its output, with the error output where it failed."""
        done = subprocess.run(
            [*self.enter, *command], input=stdin, capture_output=True, text=True, timeout=timeout, cwd=ROOT, check=False
        )
        if check and done.returncode:
            pytest.fail(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout if not done.returncode else done.stdout + done.stderr

    def kubectl(self, *args: str, stdin: str | None = None, check: bool = True, timeout: float = 180) -> str:
        return self.run("kubectl", *args, stdin=stdin, check=check, timeout=timeout)

    def tool(self, *args: str, stdin: str | None = None, timeout: float = 60) -> Said:
        """Runs `kubectl pagoda`: kubectl finds the program of this environment by PATH, as it does on a laptop."""
        path = os.pathsep.join((sysconfig.get_path("scripts"), os.environ["PATH"]))
        done = subprocess.run(
            [*self.enter, "kubectl", "pagoda", *args],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            cwd=ROOT,
            check=False,
            env=os.environ | {"PATH": path, "PAGODA_API_KEY": ""},
        )
        return Said(done.returncode, done.stdout, done.stderr)

    def helm(self, *args: str, timeout: float = 180) -> str:
        return self.run("helm", *args, timeout=timeout)

    def install(self, chart: str, control_image: str, *values: str) -> str:
        """Installs the chart or upgrades to it; gives what kubectl says of the operator's roll-out."""
        control, server = (image.rpartition(":") for image in (control_image, self.server_image))
        images = (
            f"image.control.repository={control[0]},image.control.tag={control[2]}",
            f"image.server.repository={server[0]},image.server.tag={server[2]}",
        )
        sets = [argument for value in (*images, *values) for argument in ("--set", value)]
        self.helm("upgrade", "--install", "pagoda", chart, "--namespace", SYSTEM, "--create-namespace", *sets)
        return self.wait_operator()

    def install_this(self, *values: str) -> str:
        """The chart and the images of this tree."""
        return self.install(CHART, self.control_image, "ingress.allowedHosts={example.com}", *values)

    def wait_operator(self) -> str:
        return self.kubectl("-n", SYSTEM, "rollout", "status", "deployment/pagoda", "--timeout=60s", check=False)

    def items(self, kinds: str, namespace: str, *args: str) -> list[Object]:
        found: list[Object] = json.loads(self.kubectl("-n", namespace, "get", kinds, "-o", "json", *args))["items"]
        return found

    def stream(self, url: str, model: str, *args: str) -> list[Object]:
        """Chunks of one streamed chat by the openai client: when each came, and its text."""
        out = self.run(sys.executable, str(E2E / "client.py"), f"{url}/v1", "--model", model, *args)
        return [json.loads(line) for line in out.splitlines()]


@dataclass(frozen=True, slots=True)
class Namespace:
    """A namespace of one test, and the ModelDeployments in it."""

    cluster: Cluster
    name: str

    def kubectl(self, *args: str, stdin: str | None = None, check: bool = True) -> str:
        return self.cluster.kubectl("-n", self.name, *args, stdin=stdin, check=check)

    def apply(self, name: str, **spec: Any) -> None:
        """A ModelDeployment of the bundled model, small enough that several fit on two cores."""
        small = {"model": {"uri": "bundled://pagoda-tiny"}, "resources": {"cpu": "100m"}}
        obj = {"apiVersion": "pagoda.dev/v1alpha1", "kind": "ModelDeployment", "metadata": {"name": name}}
        self.kubectl("apply", "-f", "-", stdin=json.dumps(obj | {"spec": small | spec}))

    def model(self, name: str) -> Object:
        obj: Object = json.loads(self.kubectl("get", "modeldeployment", name, "-o", "json"))
        return obj

    def condition(self, name: str, type_: str = "Ready") -> Object:
        """The condition, if it speaks of the spec as it is now; else an empty one."""
        obj = self.model(name)
        for condition in obj.get("status", {}).get("conditions", []):
            if condition["type"] == type_ and condition.get("observedGeneration") == obj["metadata"]["generation"]:
                found: Object = condition
                return found
        return {"status": "", "reason": "", "message": ""}

    def pods(self, name: str) -> list[Object]:
        """The pods of a ModelDeployment that are not on their way out."""
        pods = self.cluster.items("pods", self.name, "-l", self.selector(name))
        return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]

    def selector(self, name: str) -> str:
        return f"pagoda.dev/model-deployment={name}"

    def wait_ready(self, name: str, timeout: float = 180) -> None:
        wait_for(
            lambda: self.condition(name)["status"] == "True",
            timeout,
            lambda: f"{name} Ready; its status: {json.dumps(self.model(name).get('status'), indent=1)}",
        )

    def row(self, name: str, *flags: str) -> dict[str, str]:
        """What `kubectl get` shows of it, by column."""
        head, row = self.kubectl("get", "modeldeployment", name, *flags).splitlines()
        return dict(zip(head.split(), row.split(), strict=True))

    def told(self, name: str) -> list[tuple[str, str]]:
        """Type and reason of the events on it, oldest first."""
        about = f"involvedObject.kind=ModelDeployment,involvedObject.name={name}"
        found = json.loads(self.kubectl("get", "events", "--field-selector", about, "-o", "json"))["items"]
        ordered = sorted(found, key=lambda event: str(event["metadata"]["creationTimestamp"]))
        return [(event["type"], event["reason"]) for event in ordered]

    def ready_replicas(self, name: str) -> int:
        return int(self.model(name).get("status", {}).get("readyReplicas", 0))

    def wait_routed(self, host: str) -> None:
        """Until nginx hands requests for this host on."""
        look = ("curl", "-s", "--noproxy", "*", "-o", "/dev/null", "-w", "%{http_code}", "-H", f"Host: {host}")
        url = f"{self.cluster.ingress_url}/v1/models"
        wait_for(lambda: self.cluster.run(*look, url) == "200", 90, "nginx has taken the Ingress up")

    @contextmanager
    def streaming(self, name: str, host: str, *, streams: int, seconds: int) -> Iterator["Load"]:
        """Chats streamed through nginx by the openai client meanwhile (`load.py`)."""
        arguments = ["--host", host, "--model", name, "--streams", str(streams), "--seconds", str(seconds)]
        command = [*self.cluster.enter, sys.executable, str(E2E / "load.py"), f"{self.cluster.ingress_url}/v1"]
        process = subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, text=True)
        try:
            yield Load(process, seconds)
        finally:
            process.kill()
            process.wait()

    def wait_reason(
        self, name: str, reason: str, *, type_: str = "Ready", status: str = "False", timeout: float = 90
    ) -> str:
        """Waits until the condition has this status for this reason; gives its message."""

        def find_message() -> str:
            found = self.condition(name, type_)
            return str(found["message"]) if (found["status"], found["reason"]) == (status, reason) else ""

        return wait_for(
            find_message,
            timeout,
            lambda: (
                f"{type_} {status} for {reason}; its status: {json.dumps(self.model(name).get('status'), indent=1)}"
            ),
        )


@dataclass(frozen=True, slots=True)
class Load:
    process: "subprocess.Popen[str]"
    seconds: int

    def wait_counts(self) -> dict[str, int]:
        """How many answers came whole, were cut or failed; the load ends by itself."""
        out, _ = self.process.communicate(timeout=self.seconds + 120)
        counts: dict[str, int] = json.loads(out)
        print(counts)
        return counts


def _shell(*command: str) -> None:
    print(f"== {' '.join(command)}", flush=True)
    subprocess.run(command, cwd=ROOT, check=True)


@pytest.fixture(scope="session")
def cluster(pytestconfig: pytest.Config) -> Cluster:
    if os.environ.get("CLUSTER") == "current":
        return Cluster((), os.environ["CONTROL_IMAGE"], os.environ["SERVER_IMAGE"], os.environ.get("INGRESS_URL", ""))
    with pytestconfig.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():  # progress is shown
        _shell("e2e/cluster/cluster-up.sh")
        _shell("e2e/cluster/push-images.sh")
    home = Path(os.environ.get("CLUSTER_HOME", Path.home() / ".cache/pagoda-cluster"))
    images = json.loads((home / "run/images.json").read_text())
    return Cluster(
        (str(E2E / "cluster/in"),), images["control"], images["server"], "http://192.0.2.1:8880", str(home / "run")
    )


@pytest.fixture(scope="session")
def pagoda(cluster: Cluster) -> Cluster:
    """The cluster with our chart installed, or upgraded to these images."""
    said = cluster.install_this()
    if "successfully rolled out" not in said:
        pytest.exit(f"the operator does not start: {said}\n{_tell(cluster, SYSTEM)}", returncode=1)
    return cluster


@pytest.fixture
def kubectl(cluster: Cluster) -> Callable[..., str]:
    return cluster.kubectl


@pytest.fixture
def helm(cluster: Cluster) -> Callable[..., str]:
    return cluster.helm


@pytest.fixture(name="wait_for")
def wait_for_fixture() -> Callable[..., Any]:
    return wait_for


@pytest.fixture
def make_namespace(pagoda: Cluster, request: pytest.FixtureRequest) -> Iterator[Callable[[], Namespace]]:
    """Fresh namespaces, gone after the test. When the test failed, each first tells what was in it."""
    made: list[Namespace] = []

    def make() -> Namespace:
        made.append(Namespace(pagoda, f"e2e-{uuid.uuid4().hex[:8]}"))
        pagoda.kubectl("create", "namespace", made[-1].name)
        return made[-1]

    try:
        yield make
        if getattr(request.node, "failed", False):
            print(*(_tell(pagoda, namespace.name) for namespace in made), sep="\n")
    finally:
        for namespace in made:  # NB: nginx is reloaded for an Ingress that goes, and then drops idle connections
            pagoda.kubectl("-n", namespace.name, "delete", "mdep,ingress", "--all", "--timeout=30s", check=False)
            pagoda.kubectl("delete", "namespace", namespace.name, "--wait=false", "--ignore-not-found")


@pytest.fixture
def namespace(make_namespace: Callable[[], Namespace]) -> Namespace:
    return make_namespace()


@dataclass(frozen=True, slots=True)
class OperatorLog:
    """The errors in the operator's log since a moment."""

    cluster: Cluster
    since: str
    errors: list[str]

    @property
    def command(self) -> tuple[str, ...]:
        where = ("-n", SYSTEM, "-l", "app.kubernetes.io/name=pagoda")
        return ("logs", *where, "--tail=-1", f"--since-time={self.since}")

    def note(self, log: str) -> None:
        self.errors.extend(re.findall(r"^.*level=(?:ERROR|CRITICAL).*$|^Traceback.*$", log, re.MULTILINE))


@pytest.fixture
def operator_log(pagoda: Cluster) -> OperatorLog:
    return OperatorLog(pagoda, datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), [])


@pytest.fixture(autouse=True)
def operator_log_has_no_error(request: pytest.FixtureRequest) -> Iterator[None]:
    """A story fails on an error in the operator's log, unless it is marked `expects_errors(pattern)`."""
    if "pagoda" not in request.fixturenames:
        yield
        return
    log: OperatorLog = request.getfixturevalue("operator_log")
    yield
    log.note(log.cluster.kubectl(*log.command, check=False))
    marks = [str(mark.args[0]) for mark in request.node.iter_markers("expects_errors")]
    errors = [line for line in log.errors if not any(re.search(mark, line) for mark in marks)]
    if errors:
        pytest.fail("unexpected errors in the operator's log:\n" + "\n".join(errors[:20]))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call":
        item.failed = report.failed  # type: ignore[attr-defined]  # `make_namespace` looks for it
    return report


def _tell(cluster: Cluster, namespace: str) -> str:
    """What a person would look at first."""
    looks = [
        ("-n", namespace, "get", "modeldeployments", "-o", "yaml"),
        ("-n", namespace, "get", "all,ingress,hpa,endpointslices", "-o", "wide"),
        ("-n", namespace, "get", "events", "--sort-by=.lastTimestamp"),
        ("-n", namespace, "logs", "-l", "pagoda.dev/model-deployment", "--all-containers", "--prefix", "--tail=30"),
        ("-n", SYSTEM, "get", "pods", "-o", "wide"),
        ("-n", SYSTEM, "logs", "deployment/pagoda", "--tail=60"),
    ]
    return "\n".join(f"$ kubectl {' '.join(look)}\n{cluster.kubectl(*look, check=False)}" for look in looks)
