"""A pod that no node takes is told what to ask for, by what the scheduler says."""

from typing import Any

import pytest

from pagoda_cli.diagnosis.observed import Observed
from pagoda_cli.diagnosis.place import find_place
from tests.doubles.observed_models import build_model

UNBOUND = "chat-1: 0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims."
LOST = 'chat-1: 0/2 nodes are available: persistentvolumeclaim "weights" not found.'
CASES: list[tuple[str, dict[str, Any], str]] = [
    ("no node has enough cpu (it asks for 9; 1 node too short) for many-gpus-1.", {}, "lower spec.resources.cpu"),
    ("0/1 nodes are available: 1 Insufficient memory.", {}, "lower spec.resources.memory"),
    ("no node has enough cpu (9) and memory (1Ti) for chat-1.", {}, "lower spec.resources.memory"),
    (
        "no node has enough nvidia.com/gpu (it asks for 8) for p.",
        {},
        "(spec.engine.tensorParallel, and spec.resources.gpus",
    ),
    ("0/1: 1 Insufficient amd.com/gpu.", {"resources": {"gpuResource": "amd.com/gpu"}}, "(now amd.com/gpu)"),
    ("0/1: 1 Insufficient ephemeral-storage.", {}, "lower spec.resources.ephemeralStorage"),
    ("p: 1 node(s) didn't match Pod's node affinity/selector.", {}, "spec.scheduling"),
    (UNBOUND, {"model": {"cache": {"pvc": {"size": "1Gi"}}}}, "kubectl -n models describe pvc chat-models"),
    (UNBOUND, {"model": {"uri": "pvc://weights/a"}}, "kubectl -n models describe pvc weights"),
    (LOST, {"model": {"cache": {"existingClaim": "weights"}}}, "correct spec.model.cache.existingClaim"),
    (LOST, {"model": {"uri": "pvc://weights/a"}}, "create it, or correct spec.model.uri"),
]


@pytest.mark.parametrize(("message", "spec", "step"), CASES)
def test_the_step_fits_what_the_scheduler_says(message: str, spec: dict[str, Any], step: str) -> None:
    steps = list(find_place(Observed(mdep=build_model(spec=spec)), message))
    assert any(step in found for found in steps), steps


def test_the_command_for_gpus_escapes_the_dots_of_their_name() -> None:
    steps = find_place(Observed(mdep=build_model()), "0/1: 1 Insufficient nvidia.com/gpu.")
    assert any(r"HAS:.status.allocatable.nvidia\.com/gpu" in step for step in steps)
