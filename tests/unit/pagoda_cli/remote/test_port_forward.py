"""A port here leads to ready pods: bytes come through whole, pods take turns, and what fails says why."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.request import urlopen

import pytest

from pagoda_cli.remote.errors import ClusterError
from pagoda_cli.remote.port_forward import PortForward, ReadyPods
from tests.doubles.observed_models import build_pod
from tests.doubles.pods_api import PodsApi, connect_to, serving

PODS = "/api/v1/namespaces/models/pods"
LARGE = b"x" * 3_000_000


class Answer(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        while self.rfile.readline().strip():
            pass
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(LARGE) + LARGE)


@contextmanager
def pod_port() -> Iterator[int]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def two_pods() -> dict[str, object]:
    pods = [build_pod("chat-aaaa-1"), build_pod("chat-aaaa-2"), build_pod("chat-aaaa-3", ready=False)]
    return {PODS: {"items": pods, "metadata": {}}}


def test_large_answers_come_whole_and_pods_take_turns() -> None:
    with pod_port() as port, serving(PodsApi(two_pods(), forward_to=port)) as api:
        cluster = connect_to(api, as_user="someone", as_groups=("a", "b"))
        with PortForward(cluster, ReadyPods(cluster, "chat", "models"), "models", 8000) as forward:
            for _ in range(4):
                with urlopen(f"{forward.url}/v1/models", timeout=10) as answer:
                    assert answer.read() == LARGE
        asked = [(path, headers) for path, headers in api.asked if "/portforward" in path]
        assert {path.split("/")[6] for path, _ in asked} == {"chat-aaaa-1", "chat-aaaa-2"}
        assert {headers["Impersonate-User"] for _, headers in asked} == {"someone"}
        assert all("Bearer t" in headers["Authorization"] for _, headers in asked)


def test_without_a_ready_pod_it_says_so_before_anything_is_opened() -> None:
    with serving(PodsApi({PODS: {"items": [build_pod("chat-aaaa-3", ready=False)], "metadata": {}}})) as api:
        cluster = connect_to(api)
        with pytest.raises(ClusterError, match="no pod of models/chat is ready: pagoda why chat -n models says why"):
            PortForward(cluster, ReadyPods(cluster, "chat", "models"), "models", 8000).__enter__()


def test_what_the_pod_said_of_a_refused_connection_is_kept() -> None:
    with serving(PodsApi(two_pods(), error="connection refused")) as api:
        cluster = connect_to(api)
        with PortForward(cluster, ReadyPods(cluster, "chat", "models"), "models", 8000) as forward:
            with pytest.raises(OSError):
                urlopen(forward.url, timeout=10)
            assert str(forward.trouble) == "the pod took no connection: connection refused"
