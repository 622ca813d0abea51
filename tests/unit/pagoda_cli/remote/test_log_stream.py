"""Logs of all pods and containers, in order; what cannot be read is told and stops nothing."""

import itertools

import pytest

from pagoda_cli.remote.api_key import find_api_key
from pagoda_cli.remote.errors import ClusterError
from pagoda_cli.remote.log_stream import LogQuery, follow_logs, list_pods, read_logs
from pagoda_cli.screens.log_lines import build_log_line
from tests.doubles.observed_models import build_model, build_pod
from tests.doubles.pods_api import FORBIDDEN, PodsApi, connect_to, serving

PODS = "/api/v1/namespaces/models/pods"
SPEC = {"initContainers": [{"name": "fetch"}, {"name": "gateway"}], "containers": [{"name": "server"}]}


def build_api() -> PodsApi:
    pods = [build_pod("chat-aaaa-1", spec=SPEC), build_pod("chat-aaaa-2", spec=SPEC)]
    objects: dict[str, object] = {PODS: {"items": pods, "metadata": {}}}
    for pod, container in itertools.product(("chat-aaaa-1", "chat-aaaa-2"), ("fetch", "server")):
        objects[f"{PODS}/{pod}/log?container={container}"] = f"{container} begins\n{container} ends\n"
        objects[f"{PODS}/{pod}/log?follow=true&container={container}"] = f"{container} goes on\n"
    return PodsApi(objects)


def test_each_container_of_each_pod_is_read_in_the_order_in_which_they_start() -> None:
    with serving(build_api()) as api:
        cluster = connect_to(api)
        lines = list(read_logs(cluster, "models", list_pods(cluster, "chat", "models"), LogQuery()))
    said = [(line.pod[-1], line.container, line.text) for line in lines if not line.is_trouble]
    assert said[:4] == [
        ("1", "fetch", "fetch begins"),
        ("1", "fetch", "fetch ends"),
        ("1", "server", "server begins"),
        ("1", "server", "server ends"),
    ]
    assert len(said) == 8
    assert [line.container for line in lines if line.is_trouble] == ["gateway", "gateway"]


def test_followed_logs_of_all_pods_come_together() -> None:
    with serving(build_api()) as api:
        cluster = connect_to(api)
        query = LogQuery(containers=("fetch", "server"))
        lines = list(itertools.islice(follow_logs(cluster, "models", "chat", query), 4))
    assert {(line.pod[-1], line.text) for line in lines} == {
        (pod, f"{container} goes on") for pod in "12" for container in ("fetch", "server")
    }


def test_a_line_names_its_pod_and_moves_no_cursor() -> None:
    line = build_log_line("p-1", "server", "\x1b[31mred\x1b[0m \x1b]0;title\x07", pods=["p-1"], has_prefix=True)
    assert line.plain == "p-1 server | red ]0;title"


def test_a_key_is_the_given_one_or_that_of_the_secret_and_says_where_it_comes_from() -> None:
    secret = "/api/v1/namespaces/models/secrets/keys"
    mdep = build_model(spec={"auth": {"apiKeysSecretRef": {"name": "keys"}}})
    with serving(PodsApi({secret: {"data": {"team": "c2VjcmV0"}}})) as api:
        cluster = connect_to(api)
        assert find_api_key(cluster, mdep, "given").value == "given"
        assert find_api_key(cluster, build_model(), None).value is None
        assert api.asked == [], "no Secret is read that is not needed"
        found = find_api_key(cluster, mdep, None)
        assert (found.value, found.source) == ("secret", "using the API key of the tenant team, from the Secret keys")
        api.objects[secret] = FORBIDDEN
        with pytest.raises(ClusterError, match="give --key or PAGODA_API_KEY"):
            find_api_key(cluster, mdep, None)
