"""The GPUs of this machine as a server here would see them, and which of them each replica gets.

A device plugin does so in a cluster. Torch is asked in the server's own interpreter, and only where there is a driver:
it is slow to import, and may be one that was built without CUDA.
"""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pagoda_cli.local.plan import PlanError
from pagoda_operator.api import Spec

VISIBLE_VARIABLE = "CUDA_VISIBLE_DEVICES"
COUNT = "import torch; print(torch.cuda.device_count())"
ASK_SECONDS = 120.0
DEVICES = Path("/dev")


@dataclass(frozen=True, slots=True)
class Gpus:
    """The names by which CUDA_VISIBLE_DEVICES knows them."""

    names: tuple[str, ...] = ()

    def choose(self, replica: int, gpus: int) -> Mapping[str, str]:
        """Returns the variable that shows a replica its own GPUs and no others."""
        mine = self.names[replica * gpus : (replica + 1) * gpus]
        return {VISIBLE_VARIABLE: ",".join(mine)} if gpus else {}


def has_driver(devices: Path = DEVICES) -> bool:
    """Returns whether the kernel has a GPU that CUDA could use (`/dev/dxg` is that of Windows' Linux)."""
    return any(devices.glob("nvidia[0-9]*")) or (devices / "dxg").exists()


@cache
def find_gpus() -> Gpus:
    """Raises PlanError when torch cannot be asked."""
    if not has_driver():
        return Gpus()
    try:
        done = subprocess.run([sys.executable, "-c", COUNT], capture_output=True, text=True, timeout=ASK_SECONDS)
        return name_gpus(int(done.stdout), os.environ.get(VISIBLE_VARIABLE))
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise PlanError(f"the GPUs of this machine cannot be counted: {error}: see nvidia-smi") from error


def name_gpus(count: int, visible: str | None) -> Gpus:
    """Names as many as torch counts, as the user's own CUDA_VISIBLE_DEVICES does where it is set."""
    names = [name.strip() for name in visible.split(",")] if visible else [str(number) for number in range(count)]
    return Gpus(tuple(names[:count]))


def refuse_gpus(spec: Spec, replicas: int, gpus: Gpus) -> None:
    """Raises PlanError when the replicas ask for more GPUs than there are: waiting would bring none."""
    here, each = len(gpus.names), spec.gpus
    if not here and each:
        raise PlanError(f"resources.gpus: {_describe_wish(spec)}, and this machine has no CUDA GPU: {_fix_none(spec)}")
    if each > here:
        fix = f"set engine.tensorParallel and resources.gpus to at most {here}"
        raise PlanError(f"resources.gpus: {_describe_wish(spec)}, and this machine has {here}: {fix}")
    if replicas * each > here:
        field = "replicas" if spec.autoscaling is None else "autoscaling.minReplicas"
        wish = f"{replicas} replicas need {replicas * each} GPUs, and this machine has {here}"
        raise PlanError(f"{field}: {wish}: set it to at most {here // each}")


def _describe_wish(spec: Spec) -> str:
    count = f"{spec.gpus} GPU{'s' if spec.gpus > 1 else ''}"
    if spec.resources.gpus is None:
        return f"not set, which is {count} for this model"
    return f"{count} for each replica"


def _fix_none(spec: Spec) -> str:
    """Names all that goes with the CPU: a rule of the resource refuses the rest."""
    beside = " and engine.tensorParallel: 1" if spec.engine.tensor_parallel > 1 else ""
    without = ", and remove engine.deterministic" if spec.engine.deterministic else ""
    return f"set resources.gpus: 0{beside} to run on the CPU{without}"


def refuse_without_server() -> None:
    """Raises PlanError where only the command was installed."""
    if importlib.util.find_spec("torch") is None:
        raise PlanError("the model server is not installed here: pip install 'pagoda[server]'")
