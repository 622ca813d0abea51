"""Which processes stand for a pod on this machine: pure, from the pod that the operator's builder makes.

Nothing here knows what a gateway or a server is beyond the container's place in the pod: init containers run once,
native sidecars and containers run on. Paths of the pod are mapped into private folders; the public address becomes a
listening socket that all replicas inherit, the admin address a port of this machine.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

POD_RUN, POD_MODELS, POD_ETC, POD_BATCH = "/run/pagoda", "/models", "/etc/pagoda", "/var/lib/pagoda/batch"
POD_PATH = re.compile(r"(?<![\w./-])(/run/pagoda|/models|/etc/pagoda|/var/lib/pagoda/batch)(?=$|[/\s:,])")
VARIABLE = re.compile(r"\$\((\w+)\)")
POD_ONLY = frozenset({"HOME", "HF_HOME", "TRITON_CACHE_DIR"})  # caches in the pod's /tmp; here the user's own are used
FIELD_VALUES = {"status.podIP": "127.0.0.1", "status.hostIP": "127.0.0.1", "spec.nodeName": "localhost"}

LOCAL_HOSTS = "localhost,127.0.0.1,[::1]"
"""The names that a gateway here answers to. In a cluster the ingress knows them."""
CHAT_PAGE = "--chat-page"
SERVE = ("-m", "pagoda_server", "serve")
FETCH = ("-m", "pagoda_cli.main", "fetch")

Secrets = Mapping[str, Mapping[str, bytes]]


class PlanError(Exception):
    """The pod cannot be run here; the message names the field and the fix."""


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """One container as a process. `environment` is added to this program's own; `inherits` are open files it gets."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    inherits: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a replica is reached: the listening socket it shares with all others, and a port of its own.

    `hosts` are the names that it answers to; None: any.
    """

    shared_fd: int
    admin_port: int
    hosts: str | None = LOCAL_HOSTS


@dataclass(frozen=True, slots=True)
class Folders:
    """Where the pod's folders lie on this machine."""

    run: Path
    models: Path
    etc: Path
    batch: Path
    """Files of batches: kept when the run ends."""

    @property
    def socket(self) -> Path:
        return self.run / "server.sock"

    def place(self, text: str) -> str:
        """Maps the pod's paths in `text` to this machine's."""
        places = {POD_RUN: self.run, POD_MODELS: self.models, POD_ETC: self.etc, POD_BATCH: self.batch}
        return POD_PATH.sub(lambda match: str(places[match.group(1)]), text)


@dataclass(frozen=True, slots=True)
class ReplicaPlan:
    """One replica: `setup` runs to its end in order, then server and gateway run on."""

    setup: tuple[ProcessSpec, ...]
    server: ProcessSpec
    gateway: ProcessSpec
    admin_port: int
    folders: Folders

    @property
    def admin_url(self) -> str:
        return f"http://127.0.0.1:{self.admin_port}"


def plan_replica(
    pod: Mapping[str, Any], *, name: str, folders: Folders, addresses: Addresses, secrets: Secrets, python: str
) -> ReplicaPlan:
    """Returns the processes of one replica of `pod`, a PodSpec as the builder makes it."""

    def build(container: Mapping[str, Any]) -> ProcessSpec:
        return build_process(
            container, replica=name, folders=folders, addresses=addresses, secrets=secrets, python=python
        )

    init = pod.get("initContainers", [])
    gateways = [container for container in init if container.get("restartPolicy") == "Always"]
    if len(gateways) != 1 or len(pod["containers"]) != 1:
        raise PlanError(
            f"pod: {len(gateways)} sidecars and {len(pod['containers'])} containers: `pagoda run` knows one of each"
        )
    server = build(pod["containers"][0])
    setup = [build(container) for container in init if container.get("restartPolicy") != "Always"]
    return ReplicaPlan(
        setup=plan_setup(setup, server),
        server=server,
        gateway=_keep_local(build(gateways[0]), addresses),
        admin_port=addresses.admin_port,
        folders=folders,
    )


def plan_setup(setup: Sequence[ProcessSpec], server: ProcessSpec) -> tuple[ProcessSpec, ...]:
    """Returns the init processes, and between them what refuses a setting before the model's weights are downloaded."""
    if server.command[1:4] != SERVE:
        return tuple(setup)
    command = (*server.command[:3], "check", *server.command[4:])
    check = ProcessSpec("check", command, server.environment)
    first = tuple(replace(one, command=(*one.command, "--configuration")) for one in setup if _downloads(one))
    return (*first, check, *setup) if first else (*setup, check)


def _downloads(process: ProcessSpec) -> bool:
    return process.command[1:4] == FETCH and process.command[4].startswith("hf://")


def _keep_local(gateway: ProcessSpec, addresses: Addresses) -> ProcessSpec:
    """Restricts the hosts, as a rule to this machine: no page of another site, no name rebound to 127.0.0.1.

    The page to chat is always there, since whoever reaches the port may ask the model by it.
    """
    hosts = ("--allowed-hosts", addresses.hosts) if addresses.hosts is not None else ()
    page = () if CHAT_PAGE in gateway.command else (CHAT_PAGE,)
    return replace(gateway, command=(*gateway.command, *page, *hosts), inherits=(addresses.shared_fd,))


def build_process(
    container: Mapping[str, Any], *, replica: str, folders: Folders, addresses: Addresses, secrets: Secrets, python: str
) -> ProcessSpec:
    """Returns one container as a process of this machine."""
    environment = read_environment(container.get("env", []), replica, secrets)
    words = [*container.get("command", []), *container.get("args", [])]
    words = [VARIABLE.sub(lambda match: environment.get(match.group(1), match.group(0)), word) for word in words]
    words = [folders.place(word) for word in place_addresses(words, addresses)]
    environment = {key: folders.place(value) for key, value in environment.items() if key not in POD_ONLY}
    return ProcessSpec(container["name"], tuple(place_program(words, python)), environment)


def place_program(words: Sequence[str], python: str) -> list[str]:
    """Replaces `python -m x` and `pagoda x` by this interpreter's, so that no image and no PATH is needed."""
    if not words:
        raise PlanError("pod: a container has no command: `pagoda run` cannot know its image's entrypoint")
    program, *rest = words
    if Path(program).name in ("python", "python3"):
        return [python, *rest]
    if Path(program).name == "pagoda":
        return [python, "-m", "pagoda_cli.main", *rest]
    return list(words)


def place_addresses(words: Sequence[str], addresses: Addresses) -> list[str]:
    """Sets --listen and --admin to this machine's addresses."""
    values = {"--listen": f"fd://{addresses.shared_fd}", "--admin": f"127.0.0.1:{addresses.admin_port}"}
    placed: list[str] = []
    for word in words:
        flag, separator, _ = word.partition("=")
        if placed and placed[-1] in values:
            word = values[placed[-1]]
        elif separator and flag in values:
            word = f"{flag}={values[flag]}"
        placed.append(word)
    return placed


def read_environment(items: Sequence[Mapping[str, Any]], replica: str, secrets: Secrets) -> dict[str, str]:
    """Returns literal values, pod fields and keys of the file's Secrets; the rest comes from our own environment."""
    environment: dict[str, str] = {}
    for item in items:
        value = _read_value(item, replica, secrets)
        if value is not None:
            environment[item["name"]] = value
    return environment


def _read_value(item: Mapping[str, Any], replica: str, secrets: Secrets) -> str | None:
    if "valueFrom" not in item:
        return str(item.get("value", ""))
    source = item["valueFrom"]
    if "fieldRef" in source:
        field = source["fieldRef"]["fieldPath"]
        return replica if field in ("metadata.name", "metadata.uid") else FIELD_VALUES.get(field)
    if "secretKeyRef" in source:
        reference = source["secretKeyRef"]
        value = secrets.get(reference["name"], {}).get(reference["key"])
        return _read_variable(reference, value) if value is not None else None
    return None


def _read_variable(reference: Mapping[str, Any], value: bytes) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        place = f"Secret {reference['name']!r}: {reference['key']}"
        raise PlanError(f"{place}: not text, which a variable of a process is: correct it")
    return text


def plan_secret_files(pod: Mapping[str, Any], secrets: Secrets) -> dict[str, bytes]:
    """Files to write below /etc/pagoda (relative path → content), from the pod's secret volumes mounted there."""
    volumes = {volume["name"]: volume["secret"] for volume in pod.get("volumes", []) if "secret" in volume}
    files: dict[str, bytes] = {}
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        for mount in container.get("volumeMounts", []):
            if mount["name"] in volumes and mount["mountPath"].startswith(POD_ETC + "/"):
                folder = mount["mountPath"][len(POD_ETC) + 1 :]
                files |= {
                    f"{folder}/{key}": value for key, value in _secret_items(volumes[mount["name"]], secrets).items()
                }
    return files


def _secret_items(volume: Mapping[str, Any], secrets: Secrets) -> Mapping[str, bytes]:
    name = volume["secretName"]
    if name not in secrets:
        raise PlanError(
            f"Secret {name!r}: not in the file: add it there as a second document (kind: Secret, stringData)"
        )
    return secrets[name]


def needs_gpu(pod: Mapping[str, Any]) -> bool:
    """Returns whether a container asks for a GPU, by a resource or a claim: two generations cannot share it."""
    resources = [container.get("resources", {}) for container in pod["containers"]]
    return any("claims" in asked or any("/" in name for name in asked.get("limits", {})) for asked in resources)
