"""What a model's configuration rules out is refused before a weight is read, and without torch."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open

from pagoda_guard.termination import REFUSED
from pagoda_server.engine.config import EngineConfig
from pagoda_server.model.config import read_model_config
from pagoda_server.start.refusals import count_weights, read_memory_bytes, refuse_large, refuse_settings

CHECK = """
import sys
from pagoda_server.__main__ import main
code = main()
assert "torch" not in sys.modules
sys.exit(code)
"""
TINY = Path(__file__).parents[4] / "server_image" / "sample_model" / "pagoda-tiny"


def refuse(**settings: Any) -> None:
    refuse_settings(EngineConfig(model=TINY, socket=Path("s"), **settings), read_model_config(TINY))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_model_len": 2049}, "max_model_len is 2049 but the model knows 2048 positions; lower it"),
        ({"tensor_parallel": 7}, "tensor_parallel is 7, which does not divide the model's"),
        ({"deterministic": True, "quantization": "fp8"}, "deterministic is set but the weights are fp8"),
    ],
)
def test_the_setting_to_change_is_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        refuse(**settings)


def test_what_the_model_can_do_is_not_refused() -> None:
    refuse(max_model_len=2048, tensor_parallel=1, deterministic=True)


@pytest.mark.parametrize(
    ("dtype", "value_bytes", "fix"),
    [("auto", 1, "; serve a smaller model"), ("float32", 3, "; give 'bfloat16', or serve a smaller model")],
)
def test_weights_beyond_the_machines_memory_are_refused(dtype: Any, value_bytes: int, fix: str) -> None:
    config = EngineConfig(model=TINY, socket=Path("s"), device="cpu", dtype=dtype)
    model = read_model_config(TINY)
    refuse_large(config, model, count_weights(model) * 4)
    refuse_large(config, model, None)
    with pytest.raises(ValueError, match=f"dtype is '{dtype}', in which the weights take .* GB of memory{fix}"):
        refuse_large(config, model, count_weights(model) * value_bytes)


def test_weights_are_never_counted_too_many() -> None:
    with safe_open(TINY / "model.safetensors", framework="pt") as file:
        shapes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118
    matrices = sum(shape[0] * shape[1] for shape in shapes if len(shape) == 2)
    assert count_weights(read_model_config(TINY)) == matrices


def test_memory_is_what_linux_says(tmp_path: Path) -> None:
    path = tmp_path / "meminfo"
    path.write_text("MemTotal:  100 kB\nMemFree:  7 kB\nSwapTotal:  20 kB\nHugePages_Total:  0\n")
    assert read_memory_bytes(path) == 120 * 1024
    assert read_memory_bytes(tmp_path / "absent") is None


def check(folder: Path, *flags: str) -> tuple[int, str]:
    words = ("--model", str(folder), "--served-model-name", "a", "--socket", "/absent/s", *flags)
    done = subprocess.run([sys.executable, "-c", CHECK, "check", *words], capture_output=True, text=True, timeout=120)
    return done.returncode, done.stderr


def test_the_command_needs_no_weights_and_no_torch(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text((TINY / "config.json").read_text())
    assert check(tmp_path) == (0, "")
    refused = "pagoda_server check: max_model_len is 4096 but the model knows 2048 positions; lower it\n"
    assert check(tmp_path, "--max-model-len", "4096") == (REFUSED, refused)
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["OtherForCausalLM"]}))
    code, said = check(tmp_path)
    assert code == REFUSED and "architectures is ['OtherForCausalLM']" in said
