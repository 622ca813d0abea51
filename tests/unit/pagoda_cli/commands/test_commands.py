"""The commands as a user types them: exit codes, one line for what fails, and completion."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from pagoda_cli.commands.completion import VARIABLE, complete_for_kubectl
from pagoda_cli.main import app
from pagoda_cli.remote.surroundings import observe_surroundings
from tests.doubles.observed_models import build_model, build_pod, condition
from tests.doubles.pods_api import FORBIDDEN, PodsApi, connect_to, serving

RUNNER = CliRunner()
MODELS = "/apis/pagoda.dev/v1alpha1/namespaces/models/modeldeployments"
CLUSTER_COMMANDS = (["status"], ["why"], ["chat", "x"], ["logs", "x"], ["bench", "x"], ["report"])


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a program sets for itself is unset after a test."""
    for name in (VARIABLE, "COMP_WORDS", "COMP_CWORD"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def no_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "config"


def write_kubeconfig(path: Path, server: str) -> None:
    entry = {"cluster": {"server": server}, "name": "c"}
    context = {"name": "x", "context": {"cluster": "c", "namespace": "models"}}
    path.write_text(yaml.safe_dump({"clusters": [entry], "contexts": [context], "current-context": "x", "users": []}))


@pytest.mark.parametrize("command", CLUSTER_COMMANDS)
def test_without_a_kubeconfig_each_command_says_how_to_give_one(command: list[str]) -> None:
    result = RUNNER.invoke(app, command)
    assert result.exit_code == (2 if command == ["why"] else 1)
    assert isinstance(result.exception, SystemExit)
    assert "error: there is no kubeconfig" in result.output


@pytest.mark.parametrize("command", CLUSTER_COMMANDS)
def test_a_cluster_that_cannot_be_reached_is_one_line(command: list[str], no_cluster: Path) -> None:
    write_kubeconfig(no_cluster, "http://127.0.0.1:1")
    result = RUNNER.invoke(app, command)
    assert isinstance(result.exception, SystemExit)
    assert result.output.splitlines()[-1].startswith("error: the cluster at http://127.0.0.1:1 cannot be reached: ")


def list_of(*items: Any) -> dict[str, Any]:
    return {"items": list(items), "metadata": {}}


def build_objects() -> dict[str, Any]:
    mdep = build_model(condition("Ready", "True", "Serving"))
    groups = {
        "/api/v1": ("pods", "events", "persistentvolumeclaims"),
        "/apis/apps/v1": ("replicasets", "deployments"),
        "/apis/autoscaling/v2": ("horizontalpodautoscalers",),
    }
    empty = {f"{root}/namespaces/models/{kind}": list_of() for root, kinds in groups.items() for kind in kinds}
    return empty | {MODELS: list_of(mdep), f"{MODELS}/chat": mdep}


def test_status_why_and_their_data(no_cluster: Path) -> None:
    objects = build_objects() | {"/openapi/v3/apis/pagoda.dev/v1alpha1": {}}
    with serving(PodsApi(objects)) as api:
        write_kubeconfig(no_cluster, api.url)
        assert "chat" in RUNNER.invoke(app, ["status"]).output
        data = json.loads(RUNNER.invoke(app, ["status", "chat", "-o", "json"]).output)
        assert {"namespace", "name", "ready", "reason", "conditions", "pods", "hpa", "queued", "causes"} <= set(data)
        assert yaml.safe_load(RUNNER.invoke(app, ["status", "-o", "yaml"]).output)["models"][0]["reason"] == "Serving"
        well = RUNNER.invoke(app, ["why"])
        assert (well.exit_code, "All is well: the model is healthy." in well.output) == (0, True)
        api.objects[MODELS] = list_of(build_model(condition("Ready", "False", "InvalidSpec", "spec.x: no")))
        api.objects[f"{MODELS}/chat"] = api.objects[MODELS]["items"][0]
        wrong = RUNNER.invoke(app, ["why", "-o", "json"])
        assert (wrong.exit_code, json.loads(wrong.output)["causes"][0]["reason"]) == (1, "InvalidSpec")


def test_why_says_that_the_crd_is_missing(no_cluster: Path) -> None:
    with serving(PodsApi({})) as api:
        write_kubeconfig(no_cluster, api.url)
        result = RUNNER.invoke(app, ["why"])
    assert (result.exit_code, "CrdMissing" in result.output) == (1, True)


def test_a_report_is_a_file_that_is_never_written_over(no_cluster: Path, tmp_path: Path) -> None:
    with serving(PodsApi(build_objects())) as api:
        write_kubeconfig(no_cluster, api.url)
        first = RUNNER.invoke(app, ["report", "--out", "r.tar.gz"])
        assert first.exit_code == 0, first.output
        assert "not in it: " in first.output
        assert RUNNER.invoke(app, ["report", "--out", "r.tar.gz"]).exit_code == 1
    assert (tmp_path / "r.tar.gz").stat().st_size > 0


def test_names_are_completed_from_the_cluster_also_for_kubectl(
    no_cluster: Path,
) -> None:
    with serving(PodsApi(build_objects())) as api:
        write_kubeconfig(no_cluster, api.url)
        assert complete_for_kubectl(app, ["status", "c"]) == "chat\n:4"


def test_completion_says_nothing_where_no_cluster_answers() -> None:
    assert complete_for_kubectl(app, ["status", "c"]) == ":4"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_a_script_that_asks_the_tool(shell: str) -> None:
    assert f"_PAGODA_COMPLETE=complete_{shell}" in RUNNER.invoke(app, ["completion", shell]).output


def test_logs_without_a_container_of_that_name_lists_those_there_are() -> None:
    result = RUNNER.invoke(app, ["logs", "chat", "-c", "sever"])
    assert (result.exit_code, "choose of fetch, gateway, server" in result.output) == (1, True)


def test_logs_are_printed_with_whose_they_are(no_cluster: Path) -> None:
    pods = "/api/v1/namespaces/models/pods"
    objects = build_objects() | {pods: list_of(build_pod("chat-aaaa-1")), f"{pods}/chat-aaaa-1/log": "one\ntwo\n"}
    with serving(PodsApi(objects)) as api:
        write_kubeconfig(no_cluster, api.url)
        result = RUNNER.invoke(app, ["logs", "chat", "-c", "server"])
    assert result.output == "chat-aaaa-1 server | one\nchat-aaaa-1 server | two\n"


def test_version_is_an_option_too() -> None:
    assert RUNNER.invoke(app, ["--version"]).output == RUNNER.invoke(app, ["version", "--client"]).output


def test_validate_lists_all_errors_and_exits_1(tmp_path: Path) -> None:
    file = tmp_path / "m.yaml"
    file.write_text("kind: ModelDeployment\n---\nkind: ModelDeployment\nspec: {}\n")
    result = RUNNER.invoke(app, ["validate", str(file)])
    assert result.exit_code == 1
    assert "(document 1)" in result.output
    assert "(document 2)" in result.output
    assert RUNNER.invoke(app, ["validate", "-"], input=file.read_bytes()).exit_code == 1


LEASES = "/apis/coordination.k8s.io/v1"
OPERATOR = {"metadata": {"name": "pagoda-1", "namespace": "serving"}}


@pytest.mark.parametrize(
    ("objects", "is_known"),
    [
        ({f"{LEASES}/leases": list_of()}, True),
        ({f"{LEASES}/leases": FORBIDDEN, "/api/v1/pods": FORBIDDEN}, False),
        ({f"{LEASES}/leases": FORBIDDEN, "/api/v1/pods": list_of(OPERATOR)}, True),
    ],
)
def test_no_operator_is_said_to_lead_only_where_that_is_known(objects: dict[str, Any], is_known: bool) -> None:
    with serving(PodsApi(objects | {"/openapi/v3/apis/pagoda.dev/v1alpha1": {}})) as api:
        assert observe_surroundings(connect_to(api)).is_lease_read == is_known


def test_the_lease_is_the_one_that_the_operators_pods_are_told() -> None:
    containers = [{"name": "operator", "env": [{"name": "PAGODA_LEASE_NAME", "value": "llm-leader"}]}]
    lease = {"metadata": {"name": "llm-leader", "namespace": "serving"}, "spec": {"holderIdentity": "pagoda-1"}}
    objects: dict[str, Any] = {
        "/api/v1/pods": list_of(OPERATOR | {"spec": {"containers": containers}}),
        f"{LEASES}/leases": FORBIDDEN,
        f"{LEASES}/namespaces/serving/leases/llm-leader": lease,
    }
    with serving(PodsApi(objects | {"/openapi/v3/apis/pagoda.dev/v1alpha1": {}})) as api:
        assert observe_surroundings(connect_to(api)).lease == lease


STREAM = "".join(
    f"data: {json.dumps(event)}\n\n"
    for event in (
        {"choices": [{"delta": {"content": "Yes, "}}]},
        {"choices": [{"delta": {"content": "I am."}}]},
        {"choices": [], "usage": {"completion_tokens": 9}},
    )
)
ENDPOINT = {"/v1/chat/completions": STREAM, "/v1/models": {"data": [{"id": "first"}]}}


def build_serving_objects() -> dict[str, Any]:
    """A model with a ready pod, whose port is that of the API server itself: it answers as an endpoint too."""
    ready = list_of(build_pod("chat-aaaa-1"))
    return build_objects() | {"/api/v1/namespaces/models/pods": ready} | ENDPOINT


def forward_to_itself(api: PodsApi) -> None:
    api.forward_to = int(api.url.rpartition(":")[2])


def test_chat_reaches_a_pod_without_an_ingress(no_cluster: Path) -> None:
    with serving(PodsApi(build_serving_objects())) as api:
        forward_to_itself(api)
        write_kubeconfig(no_cluster, api.url)
        result = RUNNER.invoke(app, ["chat", "chat", "--ask", "Are you there?"])
        assert any("/portforward" in path for path, _ in api.asked)
    assert result.exit_code == 0, result.output
    assert "Yes, I am." in result.output
    assert "9 tokens" in result.output


def test_chat_talks_with_any_endpoint_and_sends_the_key(no_cluster: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAGODA_API_KEY", "k1")
    with serving(PodsApi(ENDPOINT)) as api:
        result = RUNNER.invoke(app, ["chat", "--url", f"{api.url}/v1"], input="hello\n")
        assert {headers["Authorization"] for _, headers in api.asked} == {"Bearer k1"}
    assert (result.exit_code, "Chatting with first." in result.output) == (0, True)
    assert "Yes, I am." in result.output


def test_bench_measures_a_model_of_the_cluster_and_says_from_where(no_cluster: Path) -> None:
    with serving(PodsApi(build_serving_objects())) as api:
        forward_to_itself(api)
        write_kubeconfig(no_cluster, api.url)
        command = ["bench", "chat", "--requests", "3", "-c", "2"]
        data = json.loads(RUNNER.invoke(app, [*command, "-o", "json"]).output)
        text = RUNNER.invoke(app, command).output
    assert (data["requests"], data["failed"], data["outputTokens"], data["countedBy"]) == (3, 0, 27, "usage")
    assert "by a port-forward through" in data["way"]
    assert "Time to the first token" in text


def test_a_benchmark_without_a_success_exits_1(no_cluster: Path) -> None:
    with serving(PodsApi({"/v1/models": {"data": [{"id": "first"}]}})) as api:
        result = RUNNER.invoke(app, ["bench", "--url", api.url, "--requests", "2", "-c", "1"])
    assert result.exit_code == 1
    assert "HTTP 404" in result.output


def test_a_name_and_an_address_exclude_each_other() -> None:
    for command in (["chat"], ["chat", "x", "--url", "http://127.0.0.1:1"], ["bench"]):
        result = RUNNER.invoke(app, command)
        assert (result.exit_code, "give the NAME of a model, or --url" in result.output) == (1, True)


def test_capacity_is_computed_without_a_cluster_and_names_what_was_measured() -> None:
    said = RUNNER.invoke(app, ["capacity", "--users", "1000000", "--precision", "fp8", "-o", "json"])
    found = json.loads(said.stdout)
    assert (said.exit_code, found["users"], found["precision"]) == (0, 1_000_000, "fp8")
    assert found["replicas"] > 100
    unknown = RUNNER.invoke(app, ["capacity", "--users", "1", "--model", "gpt-2"])
    assert unknown.exit_code == 1 and "llama-3.1-8b fp8" in unknown.output
    large = RUNNER.invoke(app, ["capacity", "--users", "1", "--prompt-tokens", "9000000"])
    assert large.exit_code == 1 and "smaller --prompt-tokens" in large.output
