"""Whatever place a secret was put in by mistake, it is not in a bundle; what helps is."""

import io
import json
import tarfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pagoda_cli.bundle.archive import MAX_MEMBER_CHARACTERS, Archive
from pagoda_cli.bundle.collect import Collector
from pagoda_cli.bundle.redaction import redact_object, redact_text
from pagoda_cli.diagnosis.observed import Surroundings
from tests.doubles.observed_models import build_event, build_model, build_pod, condition
from tests.doubles.pods_api import PodsApi, connect_to, serving

PLANTED = "pl4nted-S3cret"
NOW = datetime(2027, 1, 31, tzinfo=UTC)
LINES = [
    f"Authorization: Bearer {PLANTED}",
    f'{{"authorization": "Bearer {PLANTED}"}}',
    f"curl -H 'Authorization: Basic {PLANTED}'",
    f"HF_TOKEN={PLANTED}",
    f"hub token: {PLANTED}",
    f'"api_key": "{PLANTED}"',
    f"api-key='{PLANTED}'",
    f"PASSWORD={PLANTED}",
    f"--token {PLANTED}",
    f"--api-key={PLANTED}",
    f"https://user:{PLANTED}@hub.example.com/x",
    f"postgres://u:{PLANTED}@db/x",
    f"https://hub.example.com/file?X-Amz-Signature={PLANTED}&x=1",
    f"hf_{PLANTED}",
    f"sk-{PLANTED}",
    f"ghp_{PLANTED}",
    f"-----BEGIN RSA PRIVATE KEY-----\n{PLANTED}\n-----END RSA PRIVATE KEY-----",
    f"eyJhbGciOi.{PLANTED}.x",
]
HELPFUL = [
    "max_batched_tokens=8192",
    "tokens_per_second: 812.5",
    "pagoda_server_generation_tokens_total 12345",
    "spec.model.tokenSecretRef names the Secret hub, which does not exist",
    "the token budget is 4096 tokens",
    "pulling registry.example.com/pagoda:0.1.0",
]


@pytest.mark.parametrize("line", LINES)
def test_a_secret_in_a_line_is_taken_out(line: str) -> None:
    assert PLANTED not in redact_text(line)
    assert "[removed]" in redact_text(line)


@pytest.mark.parametrize("line", HELPFUL)
def test_what_helps_stays(line: str) -> None:
    assert redact_text(line) == line


PLACES: list[dict[str, Any]] = [
    {"metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": PLANTED}}},
    {"metadata": {"annotations": {"tool.example.com/note": PLANTED}}},
    {"metadata": {"annotations": {"pagoda.dev/note": f"token={PLANTED}"}}},
    {"metadata": {"managedFields": [{"x": PLANTED}]}},
    {"spec": {"containers": [{"env": [{"name": "HF_TOKEN", "value": PLANTED}]}]}},
    {"spec": {"containers": [{"env": [{"name": "DATABASE_PASSWORD", "value": PLANTED}]}]}},
    {"spec": {"containers": [{"env": [{"name": "URL", "value": f"https://a:{PLANTED}@b"}]}]}},
    {"spec": {"containers": [{"command": ["run", "--api-key", PLANTED]}]}},
    {"spec": {"containers": [{"args": [f"--token={PLANTED}"]}]}},
    {"spec": {"model": {"uri": f"https://me:{PLANTED}@hub/x"}}},
    {"spec": {"password": PLANTED}},
    {"status": {"conditions": [{"message": f"401 for Bearer {PLANTED}"}]}},
]


@pytest.mark.parametrize("place", PLACES)
def test_a_secret_in_an_object_is_taken_out(place: dict[str, Any]) -> None:
    assert PLANTED not in json.dumps(redact_object(place))


def test_the_names_of_secrets_and_figures_stay() -> None:
    spec = {
        "spec": {
            "auth": {"apiKeysSecretRef": {"name": "keys"}},
            "ingress": {"tlsSecretName": "site"},
            "queue": {"maxQueuedTokens": 5},
        },
        "status": {"load": {"tokensPerSecond": 3.5}},
    }
    assert redact_object(spec) == spec


def read_members(path: Path) -> dict[str, str]:
    with tarfile.open(fileobj=io.BytesIO(path.read_bytes())) as tar:
        return {m.name.partition("/")[2]: tar.extractfile(m).read().decode() for m in tar.getmembers()}  # type: ignore[union-attr]


def test_a_bundle_with_secrets_planted_everywhere_holds_none_of_them(tmp_path: Path) -> None:
    spec: dict[str, Any] = {
        "initContainers": [{"name": "fetch", "env": [{"name": "HF_TOKEN", "value": PLANTED}]}],
        "containers": [{"name": "server", "args": ["--token", PLANTED]}],
    }
    pod = build_pod("chat-aaaa-1", spec=spec)
    pod["metadata"]["annotations"] = {"other.example.com/x": PLANTED}
    mdep = build_model(condition("Ready", "False", "ModelDownloadFailed", f"https://u:{PLANTED}@hub failed"))
    mdep["metadata"]["annotations"] = {"kubectl.kubernetes.io/last-applied-configuration": PLANTED}
    apis = "/apis/pagoda.dev/v1alpha1/namespaces/models/modeldeployments/chat"
    base = "/api/v1/namespaces/models"
    log = "\n".join(LINES) + "\nthe last line\n"
    lists = {
        f"{base}/pods": [pod],
        f"{base}/events": [build_event("Failed", f"Bearer {PLANTED}")],
        "/apis/apps/v1/namespaces/models/replicasets": [],
        f"{base}/persistentvolumeclaims": [],
        "/api/v1/nodes": [{"metadata": {"name": "n"}, "status": {"addresses": [PLANTED], "allocatable": {"cpu": "2"}}}],
    }
    objects: dict[str, Any] = {path: {"items": items, "metadata": {}} for path, items in lists.items()}
    objects |= {apis: mdep, f"{base}/pods/chat-aaaa-1/log": log, "/version": {"gitVersion": "v1"}}
    objects |= {f"{base}/pods/chat-aaaa-1:8000/proxy/{page}": f"x token={PLANTED}\n" for page in ("metrics", "load")}
    path = tmp_path / "report.tar.gz"
    with serving(PodsApi(objects)) as api:
        archive = Archive("report", NOW)
        collector = Collector(connect_to(api), archive, lambda what: None)
        collector.add_model("chat", "models")
        collector.add_operator(Surroundings())
        collector.add_nodes()
        collector.add_versions("1", Surroundings())
        archive.write(path)
        assert not [asked for asked, _ in api.asked if "/secrets" in asked or "/configmaps" in asked]
    members = read_members(path)
    assert {name for name, text in members.items() if PLANTED in text} == set()
    assert members["models/models/chat/pods/chat-aaaa-1/server.log"].endswith("the last line\n")
    assert "ModelDownloadFailed" in members["models/models/chat/why.txt"]
    assert json.loads(members["nodes.json"])["items"][0]["status"] == {"allocatable": {"cpu": "2"}}
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_end_of_a_long_log_is_kept_and_the_rest_is_said_to_be_left_out(tmp_path: Path) -> None:
    archive = Archive("report", NOW)
    archive.add_text("log", "a" * (MAX_MEMBER_CHARACTERS + 7) + "end")
    archive.write(tmp_path / "r")
    assert read_members(tmp_path / "r")["log"].startswith("[10 characters left out]\n")
    assert read_members(tmp_path / "r")["log"].endswith("end")
    with pytest.raises(FileExistsError):
        archive.write(tmp_path / "r")
