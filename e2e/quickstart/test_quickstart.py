"""A person installs the chart, applies the quickstart, opens it to the outside and streams a chat."""

import json
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).parents[2] / "examples"
HOST = "quickstart.example.com"


def test_quickstart_streams_through_nginx(namespace: Any, wait_for: Any) -> None:
    namespace.kubectl("apply", "-f", str(EXAMPLES / "quickstart.yaml"))
    namespace.wait_ready("quickstart")
    before = [pod["metadata"]["uid"] for pod in namespace.pods("quickstart")]

    opened = {"spec": {"ingress": {"host": HOST, "className": "nginx"}}}
    namespace.kubectl("patch", "modeldeployment", "quickstart", "--type=merge", "-p", json.dumps(opened))
    namespace.wait_ready("quickstart")
    cluster = namespace.cluster
    models = ("curl", "-fsS", "-m", "5", "-H", f"Host: {HOST}", f"{cluster.ingress_url}/v1/models")
    wait_for(lambda: '"quickstart"' in cluster.run(*models, check=False), 30, "nginx routes to the model")
    assert [pod["metadata"]["uid"] for pod in namespace.pods("quickstart")] == before, "an Ingress restarts no pod"

    chunks = cluster.stream(cluster.ingress_url, "quickstart", "--host", HOST, "--max-tokens", "64")
    texts = [chunk for chunk in chunks if chunk["text"]]
    assert len(texts) >= 10
    arrivals = [chunk["at"] for chunk in texts]
    span = arrivals[-1] - arrivals[0]
    apart = sum(later - earlier > 0.0005 for earlier, later in zip(arrivals, arrivals[1:], strict=False))
    print(f"{len(texts)} chunks in {span:.3f} s, the first after {arrivals[0]:.3f} s, {apart} of them apart in time")
    assert span > 0.01 and apart >= 8, "nginx buffered the stream: it came in one lump or a few"


def test_the_service_answers_inside_the_cluster(namespace: Any, wait_for: Any) -> None:
    namespace.apply("inside")
    namespace.wait_ready("inside")
    service = json.loads(namespace.kubectl("get", "service", "inside", "-o", "json"))
    port = service["spec"]["ports"][0]["port"]
    url = f"http://{service['spec']['clusterIP']}:{port}"
    models = ("curl", "-fsS", "-m", "5", f"{url}/v1/models")
    wait_for(lambda: '"inside"' in namespace.cluster.run(*models, check=False), 20, f"{url} answers")
    assert "".join(chunk["text"] for chunk in namespace.cluster.stream(url, "inside", "--max-tokens", "8"))
