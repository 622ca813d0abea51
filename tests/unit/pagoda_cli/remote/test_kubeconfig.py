"""kubectl's flags choose cluster, user and namespace; what is wrong is one line and never a traceback."""

from pathlib import Path

import pytest
import yaml

from pagoda_cli.remote.errors import ClusterError, explain_refusal
from pagoda_cli.remote.flags import ClusterFlags, parse_timeout
from pagoda_cli.remote.kubeconfig import connect, list_contexts

CONFIG = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "one",
    "clusters": [
        {"name": "a", "cluster": {"server": "http://192.0.2.1:6443"}},
        {"name": "b", "cluster": {"server": "http://192.0.2.2:6443"}},
    ],
    "users": [{"name": "u", "user": {"token": "first"}}, {"name": "v", "user": {"token": "second"}}],
    "contexts": [
        {"name": "one", "context": {"cluster": "a", "user": "u", "namespace": "models"}},
        {"name": "two", "context": {"cluster": "b", "user": "v"}},
    ],
}


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(CONFIG))
    return path


CHOICES = [
    ({}, "192.0.2.1", "models", "first"),
    ({"context": "two"}, "192.0.2.2", "default", "second"),
    ({"cluster": "b"}, "192.0.2.2", "models", "first"),
    ({"user": "v", "namespace": "other"}, "192.0.2.1", "other", "second"),
    ({"server": "http://198.51.100.1/", "token": "third"}, "198.51.100.1", "models", "third"),
]


@pytest.mark.parametrize(("given", "host", "namespace", "token"), CHOICES)
def test_flags_go_before_the_kubeconfig(
    kubeconfig: Path, given: dict[str, str], host: str, namespace: str, token: str
) -> None:
    cluster = connect(ClusterFlags(kubeconfig=kubeconfig, **given))  # type: ignore[arg-type]
    assert host in cluster.host
    assert cluster.namespace == namespace
    headers: dict[str, str] = {}
    cluster.api_client.update_params_for_auth(headers, [], ["BearerToken"], "/", "GET", None)
    assert headers["authorization"].split()[-1] == token


def test_several_kubeconfigs_are_merged_as_kubectl_does(
    kubeconfig: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    third = {"name": "three", "context": {"cluster": "a", "user": "u", "namespace": "third"}}
    more = tmp_path / "more"
    more.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", "contexts": [third]}))
    monkeypatch.setenv("KUBECONFIG", f"{kubeconfig}:{more}")
    assert connect(ClusterFlags(context="three")).namespace == "third"
    assert list_contexts(None) == ["one", "two", "three"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"context": "tow"}, "there is no context 'tow': choose one of one, two"),
        ({"user": "w"}, "--user 'w': the kubeconfig has none of that name: u, v"),
        ({"cluster": "w"}, "--cluster 'w': the kubeconfig has none of that name: a, b"),
    ],
)
def test_a_name_that_is_not_there_is_answered_with_those_that_are(
    kubeconfig: Path, given: dict[str, str], said: str
) -> None:
    with pytest.raises(ClusterError, match=said):
        connect(ClusterFlags(kubeconfig=kubeconfig, **given))  # type: ignore[arg-type]


@pytest.mark.parametrize("content", ["", "[", "a: b", "clusters: 3\ncurrent-context: x\n", "\x00"])
def test_a_file_that_is_no_kubeconfig_is_one_error(tmp_path: Path, content: str) -> None:
    path = tmp_path / "config"
    path.write_text(content)
    with pytest.raises(ClusterError, match="kubeconfig|context"):
        connect(ClusterFlags(kubeconfig=path))
    assert list_contexts(path) == []


def test_no_kubeconfig_says_how_to_give_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ClusterError, match="set KUBECONFIG, give --kubeconfig FILE"):
        connect(ClusterFlags())


def test_a_cluster_that_does_not_answer_is_one_line(kubeconfig: Path) -> None:
    cluster = connect(ClusterFlags(kubeconfig=kubeconfig, server="http://127.0.0.1:1", request_timeout_seconds=1))
    with pytest.raises(ClusterError, match=r"the cluster at http://127.0.0.1:1 cannot be reached: .*refused") as error:
        cluster.get_path("/version", resource="version")
    assert "\n" not in str(error.value)


def test_who_may_not_is_told_the_verb_the_resource_and_the_role() -> None:
    error = explain_refusal(403, "no", verb="list", resource="modeldeployments", namespace="models")
    assert str(error) == (
        "you may not list modeldeployments in namespace models: ask for the ClusterRole view there "
        "(the chart adds pagoda-modeldeployment-viewer to it)"
    )


@pytest.mark.parametrize(("text", "seconds"), [("5s", 5.0), ("2m", 120.0), ("500ms", 0.5), ("7", 7.0), ("0", 3600.0)])
def test_a_timeout_is_read_as_kubectl_reads_it(text: str, seconds: float) -> None:
    assert parse_timeout(text) == seconds


def test_a_timeout_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="--request-timeout 'soon'"):
        parse_timeout("soon")
