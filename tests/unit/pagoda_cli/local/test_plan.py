"""Which processes stand for a pod, from the pod of the operator's own builder."""

from pathlib import Path

import pytest

from pagoda_cli.local.generation import model_folder
from pagoda_cli.local.plan import (
    Addresses,
    Folders,
    PlanError,
    ReplicaPlan,
    needs_gpu,
    place_addresses,
    plan_replica,
    plan_secret_files,
)
from pagoda_cli.local.pod import LocalPod, build_local_pod
from pagoda_cli.local.process import next_backoff
from pagoda_cli.local.spec_file import parse_spec

TINY = """
apiVersion: pagoda.dev/v1alpha1
kind: ModelDeployment
metadata: {name: tiny}
spec:
  model: {uri: "bundled://pagoda-tiny"}
"""
ADDRESSES = Addresses(shared_fd=9, admin_port=8)
FOLDERS = Folders(run=Path("/x/run"), models=Path("/x/m"), etc=Path("/x/etc"), batch=Path("/x/batch"))


def build_pod(extra: str = "") -> LocalPod:
    return build_local_pod(parse_spec(TINY + extra, "f").deployment)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("env", "[{name: A, value: b}]"),
        ("envFrom", "[{secretRef: {name: a}}]"),
        ("volumeMounts", "[{name: a, mountPath: /mnt/a}]"),
    ],
)
def test_a_file_brings_no_variables_and_no_volumes(field: str, value: str) -> None:
    with pytest.raises(PlanError, match=f"pod.{field}: .*remove it here"):
        build_pod(f"  pod: {{{field}: {value}}}\n")


def plan_tiny(pod: LocalPod) -> ReplicaPlan:
    return plan_replica(pod.spec, name="tiny-0", folders=FOLDERS, addresses=ADDRESSES, secrets={}, python="/py")


def test_fetch_runs_first_with_the_models_folder_of_this_machine() -> None:
    fetch, _ = plan_tiny(build_pod()).setup
    assert fetch.command == ("/py", "-m", "pagoda_cli.main", "fetch", "bundled://pagoda-tiny", "/x/m")


def test_settings_are_checked_before_the_weights_of_a_hub_are_fetched() -> None:
    engine = "  engine: {maxModelLen: 512}\n"
    pod = build_local_pod(parse_spec(TINY.replace("bundled://pagoda-tiny", "hf://a/b") + engine, "f").deployment)
    first, check, fetch = plan_tiny(pod).setup
    assert first.command == (*fetch.command, "--configuration")
    assert check.command[1:4] == ("-m", "pagoda_server", "check")
    assert check.command[check.command.index("--max-model-len") + 1] == "512"
    fetch, check = plan_tiny(build_pod(engine)).setup
    assert "--configuration" not in fetch.command and check.name == "check"


def test_gateway_shares_the_public_socket_and_has_an_admin_port_of_its_own() -> None:
    plan = plan_tiny(build_pod())
    command = plan.gateway.command
    assert plan.gateway.inherits == (9,) and plan.server.inherits == ()
    assert command[:4] == ("/py", "-m", "pagoda_gateway", "sidecar")
    assert command[command.index("--listen") + 1] == "fd://9"
    assert command[command.index("--admin") + 1] == "127.0.0.1:8"
    assert command[command.index("--upstream") + 1] == "/x/run/server.sock"
    assert command[command.index("--allowed-hosts") + 1] == "localhost,127.0.0.1,[::1]"
    assert command.count("--chat-page") == 1


@pytest.mark.parametrize("hosts", [None, "localhost,192.0.2.7"])
def test_gateway_answers_to_the_hosts_that_it_is_told(hosts: str | None) -> None:
    addresses = Addresses(shared_fd=9, admin_port=8, hosts=hosts)
    pod = build_pod()
    plan = plan_replica(pod.spec, name="a", folders=FOLDERS, addresses=addresses, secrets={}, python="/py")
    assert plan.gateway.command[-2:].count(hosts or "--allowed-hosts") == (1 if hosts else 0)


def test_no_path_of_the_pod_is_left_in_a_command() -> None:
    plan = plan_tiny(build_pod("  auth: {apiKeysSecretRef: {name: keys}}\n"))
    for process in (*plan.setup, plan.server, plan.gateway):
        for word in process.command:
            assert not word.startswith(("/run/pagoda", "/models", "/etc/pagoda"))


def test_words_that_only_look_like_a_pod_path_are_left() -> None:
    assert FOLDERS.place("/home/models/x") == "/home/models/x"
    assert FOLDERS.place("/modelsx") == "/modelsx"
    assert FOLDERS.place("--model=/models/a") == "--model=/x/m/a"


def test_caches_of_the_pod_are_not_used_here() -> None:
    assert "HF_HOME" not in plan_tiny(build_pod()).server.environment


def test_addresses_are_placed_in_both_spellings() -> None:
    assert place_addresses(["--listen=0.0.0.0:1", "--admin", "a"], ADDRESSES) == [
        "--listen=fd://9",
        "--admin",
        "127.0.0.1:8",
    ]


def test_api_keys_come_from_the_secret_in_the_file() -> None:
    pod = build_pod("  auth: {apiKeysSecretRef: {name: keys}}\n")
    assert plan_secret_files(pod.spec, {"keys": {"team": b"s"}}) == {"api-keys/team": b"s"}
    with pytest.raises(PlanError, match="'keys': not in the file"):
        plan_secret_files(pod.spec, {})


def test_gpu_is_seen_in_the_limits_and_in_the_claims() -> None:
    assert needs_gpu(build_pod("  resources: {gpus: 1}\n").spec)
    claim = "{name: gpu, resourceClaimTemplateName: h100}"
    assert needs_gpu(build_pod(f"  resources: {{gpus: 1, claims: [{claim}]}}\n").spec)
    assert not needs_gpu(build_pod().spec)


def test_autoscaled_model_starts_with_its_fewest_replicas_and_at_least_one() -> None:
    assert build_pod("  autoscaling: {minReplicas: 2, maxReplicas: 4}\n").replicas == 2
    assert build_pod("  replicas: 0\n").replicas == 1


def test_model_in_a_claim_is_refused_with_the_fix() -> None:
    with pytest.raises(PlanError, match="model.uri: pvc://c/x is a claim of a cluster: use hf://"):
        model_folder("pvc://c/x")


def test_a_folder_of_this_machine_is_used_in_place(tmp_path: Path) -> None:
    assert model_folder(f"file://{tmp_path}") == tmp_path
    with pytest.raises(PlanError, match="is no folder of this machine"):
        model_folder(f"file://{tmp_path}/absent")


def test_backoff_doubles_to_thirty_seconds_and_starts_again_after_a_steady_minute() -> None:
    waits, wait = [], None
    for _ in range(7):
        wait = next_backoff(wait, 0.1)
        waits.append(wait)
    assert waits == [1, 2, 4, 8, 16, 30, 30]
    assert next_backoff(30, 61) == 1


@pytest.mark.parametrize("token", [b"\xff", b"a\0b"])
def test_a_token_that_is_no_text_is_named_and_not_quoted(token: bytes) -> None:
    pod = build_pod()
    item = {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hub", "key": "token"}}}
    spec = pod.spec | {
        "initContainers": [pod.spec["initContainers"][0] | {"env": [item]}, pod.spec["initContainers"][1]]
    }
    with pytest.raises(PlanError, match="Secret 'hub': token: not text"):
        plan_replica(
            spec, name="a", folders=FOLDERS, addresses=ADDRESSES, secrets={"hub": {"token": token}}, python="/py"
        )
