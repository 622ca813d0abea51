"""GPUs are counted before anything is downloaded, and shared out as a device plugin does."""

from pathlib import Path
from typing import Any

import pytest

from pagoda_cli.local.gpus import Gpus, has_driver, name_gpus, refuse_gpus
from pagoda_cli.local.plan import PlanError
from pagoda_operator.api import Spec

URI = {"model": {"uri": "hf://a/b"}}


def build_spec(**fields: Any) -> Spec:
    return Spec.model_validate(URI | fields)


def test_a_driver_is_seen_by_its_devices(tmp_path: Path) -> None:
    (tmp_path / "nvidiactl").touch()
    assert not has_driver(tmp_path)
    (tmp_path / "nvidia0").touch()
    assert has_driver(tmp_path)


def test_the_users_own_choice_of_gpus_is_kept() -> None:
    assert name_gpus(2, None).names == ("0", "1")
    assert name_gpus(2, "3, 5").names == ("3", "5")
    assert name_gpus(1, "3,5,7").names == ("3",)


def test_each_replica_has_its_own() -> None:
    gpus = Gpus(("4", "5", "6", "7"))
    chosen = [gpus.choose(replica, 2) for replica in range(2)]
    assert chosen == [{"CUDA_VISIBLE_DEVICES": "4,5"}, {"CUDA_VISIBLE_DEVICES": "6,7"}]
    assert gpus.choose(0, 0) == {}


@pytest.mark.parametrize(
    ("spec", "replicas", "here", "message"),
    [
        (
            {},
            1,
            0,
            "resources.gpus: not set, which is 1 GPU for this model, and this machine has no CUDA GPU: "
            "set resources.gpus: 0 to run on the CPU",
        ),
        ({"resources": {"gpus": 1}}, 1, 0, "resources.gpus: 1 GPU for each replica, and this machine has no CUDA GPU"),
        ({"engine": {"tensorParallel": 2}}, 1, 0, "set resources.gpus: 0 and engine.tensorParallel: 1 to run on"),
        ({"engine": {"deterministic": True}}, 1, 0, "to run on the CPU, and remove engine.deterministic"),
        ({"engine": {"tensorParallel": 2}}, 1, 1, "this machine has 1: set engine.tensorParallel and resources.gpus"),
        ({}, 3, 2, "replicas: 3 replicas need 3 GPUs, and this machine has 2: set it to at most 2"),
        ({"autoscaling": {"maxReplicas": 4}}, 3, 2, "autoscaling.minReplicas: 3 replicas need 3 GPUs"),
    ],
)
def test_more_than_there_are_is_refused_with_the_fix(
    spec: dict[str, Any], replicas: int, here: int, message: str
) -> None:
    with pytest.raises(PlanError) as caught:
        refuse_gpus(build_spec(**spec), replicas, Gpus(tuple(map(str, range(here)))))
    assert message in str(caught.value)


def test_what_fits_is_not_refused() -> None:
    refuse_gpus(build_spec(), 2, Gpus(("0", "1")))
    refuse_gpus(build_spec(resources={"gpus": 0}), 8, Gpus())
