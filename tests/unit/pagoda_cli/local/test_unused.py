"""What has no meaning on this machine is said, with what is instead."""

import inspect

import pytest

from pagoda_cli.local import unused
from pagoda_cli.local.spec_file import parse_spec
from pagoda_cli.local.unused import list_unused
from pagoda_operator.api import Spec

HEAD = "apiVersion: pagoda.dev/v1alpha1\nkind: ModelDeployment\nmetadata: {name: tiny}\n"


def find_unused(spec: str, more: str = "") -> list[str]:
    return list_unused(parse_spec(f"{HEAD}spec: {{model: {{uri: 'hf://a/b'}}{spec}}}\n{more}", "f"))


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        ("ingress: {host: llm.example.com}", "ingress (llm.example.com): the endpoint is the one that Ready names"),
        (
            "autoscaling: {minReplicas: 2, maxReplicas: 8}",
            "autoscaling (2 to 8 replicas): minReplicas run, 2",
        ),
        ("replicas: 0", "replicas: 0: one runs"),
        (
            "batch: {existingClaim: files}",
            "batch (existingClaim files): files are kept in ~/.local/share/pagoda/batch",
        ),
        ("scheduling: {runtimeClassName: nvidia}", "scheduling (runtimeClassName): all runs on this machine"),
        ("resources: {cpu: 4, memory: 1Gi}", "resources (cpu, memory): a process here is not limited"),
        ("rollout: {maxSurge: 2, drainSeconds: 3}", "rollout (maxSurge): all replicas change at once"),
        ("networkPolicy: {enabled: false}", "networkPolicy: --host says who can reach the endpoint"),
        ("monitoring: {enabled: true}", "monitoring: there is no cluster that would act on it"),
        ("profile: h100", "profile (h100): profiles are in the chart of a cluster"),
        ("image: {server: a/b}", "image (server): no pod runs here"),
        ("service: {type: NodePort}", "service (type): no pod runs here"),
        ("pod: {labels: {team: a}}", "pod (labels): no pod runs here"),
        ("resources: {sharedMemory: 1Gi}", "resources (sharedMemory): a process here is not limited"),
        ("disruptionBudget: {enabled: true}", "disruptionBudget: there is no cluster that would act on it"),
    ],
)
def test_a_field_of_the_cluster_is_named(spec: str, line: str) -> None:
    assert find_unused(f", {spec}") == [line]


USED = {"model", "engine", "queue", "gateway", "auth", "tracing"}


def test_every_part_of_a_spec_is_used_here_or_named_as_not_used() -> None:
    source = inspect.getsource(unused)
    assert {name for name in Spec.model_fields if name not in USED and f"spec.{name}" not in source} == set()


def test_a_claim_is_named_with_the_folder_that_is_used() -> None:
    text = f"{HEAD}spec: {{model: {{uri: 'hf://a/b', cache: {{existingClaim: c}}}}}}"
    (line,) = list_unused(parse_spec(text, "f"))
    assert line == "model.cache (existingClaim): models are kept in ~/.cache/pagoda/models"


def test_documents_of_other_kinds_are_named() -> None:
    assert find_unused("", "---\nkind: Namespace\n") == ["a document of kind 'Namespace'"]


def test_what_is_used_is_not_said() -> None:
    assert find_unused(", replicas: 2, resources: {gpus: 0}, rollout: {drainSeconds: 1}, queue: {maxQueued: 1}") == []
