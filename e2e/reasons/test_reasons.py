"""What is wrong goes away again: the status says so, and what served before serves on.

Mistakes that stay as they are have their rows in `e2e/wrong_hands/mistakes.py`.
"""

import json
import subprocess
from typing import Any


def test_a_claim_without_a_storage_class(namespace: Any) -> None:
    namespace.apply("claimless", model={"uri": "hf://org/weights", "cache": {"pvc": {"size": "1Gi"}}})
    assert namespace.wait_reason("claimless", "NoStorageClass")


def test_a_model_that_does_not_exist_while_the_old_one_serves(namespace: Any) -> None:
    namespace.apply("moved")
    namespace.wait_ready("moved")
    old = [pod["metadata"]["uid"] for pod in namespace.pods("moved")]
    namespace.apply("moved", model={"uri": "bundled://no-such-model"})
    assert "bundled://no-such-model" in namespace.wait_reason("moved", "RolloutFailing", status="True")
    assert namespace.wait_reason("moved", "ModelNotFound", type_="PodsReady")
    row = namespace.row("moved")
    assert (row["READY"], row["REASON"], row["REPLICAS"]) == ("True", "RolloutFailing", "1/1")
    assert namespace.told("moved").count(("Warning", "RolloutFailing")) == 1
    serving = [pod["metadata"]["uid"] for pod in namespace.pods("moved")]
    assert set(old) <= set(serving)
    namespace.apply("moved")
    namespace.wait_ready("moved")
    assert [pod["metadata"]["uid"] for pod in namespace.pods("moved")] == old, "a revert restarts no pod"


def test_a_crash_loop_while_the_old_one_serves(namespace: Any, wait_for: Any) -> None:
    namespace.apply("stays")
    namespace.wait_ready("stays")
    namespace.apply("stays", engine={"maxModelLen": 1000000})
    message = namespace.wait_reason("stays", "RolloutFailing", status="True", timeout=180)
    assert "CrashLooping" in message and "max_model_len" in message
    seen = {namespace.condition("stays", "PodsReady")["status"] for _ in range(100)}
    assert seen == {"False"}, "also between two crashes"
    namespace.apply("stays")
    wait_for(lambda: namespace.condition("stays", "Progressing")["reason"] == "Complete", 60, "the revert")
    told = namespace.told("stays")
    assert told.count(("Normal", "RolloutStarted")) == 2 and ("Normal", "RolloutComplete") in told, told


def test_two_with_one_host(namespace: Any, wait_for: Any) -> None:
    ingress = {"host": "shared.example.com", "className": "nginx"}
    namespace.apply("first", ingress=ingress)
    namespace.wait_reason("first", "Written", type_="Ingress", status="True")
    namespace.apply("second", ingress=ingress)
    assert "the ModelDeployment first has the host" in namespace.wait_reason("second", "HostTaken", type_="Ingress")
    assert namespace.kubectl("get", "ingress", "-o", "name").split() == ["ingress.networking.k8s.io/first"]
    namespace.kubectl("delete", "modeldeployment", "first")
    namespace.wait_reason("second", "Written", type_="Ingress", status="True")


def test_a_tls_secret_that_does_not_exist(namespace: Any, tmp_path: Any) -> None:
    """NB: the cluster's ingress-nginx leaves Ingresses without an address, which a load balancer would have."""
    host, folder = "secure.example.com", str(tmp_path)
    namespace.apply("secure", ingress={"host": host, "className": "nginx", "tlsSecretName": "no-such-tls"})
    namespace.wait_reason("secure", "Written", type_="Ingress", status="True")
    address = {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}}
    patch = ("--subresource=status", "--type=merge", "-p", json.dumps(address))
    namespace.kubectl("patch", "ingress", "secure", *patch)
    assert "no-such-tls" in namespace.wait_reason("secure", "CertificateMissing", type_="Ingress")
    openssl = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={host}"]
    files = ["-addext", f"subjectAltName=DNS:{host}", "-keyout", f"{folder}/key", "-out", f"{folder}/crt"]
    subprocess.run([*openssl, *files], check=True, capture_output=True)
    namespace.kubectl("create", "secret", "tls", "no-such-tls", f"--cert={folder}/crt", f"--key={folder}/key")
    namespace.wait_reason("secure", "Written", type_="Ingress", status="True")


def test_replicas_and_autoscaling_are_refused_together(namespace: Any) -> None:
    obj = {
        "apiVersion": "pagoda.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": "both"},
        "spec": {"model": {"uri": "bundled://pagoda-tiny"}, "replicas": 1, "autoscaling": {"maxReplicas": 2}},
    }
    said = namespace.kubectl("apply", "-f", "-", stdin=json.dumps(obj), check=False)
    assert "is invalid" in said and "replicas" in said and "autoscaling" in said
