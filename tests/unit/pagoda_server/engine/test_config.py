"""What an operator sets reaches the engine, or is refused with field, value and fix."""

from pathlib import Path
from typing import Any

import pytest

from pagoda_guard.flags import read_settings
from pagoda_server.__main__ import build_parser
from pagoda_server.engine.config import EngineConfig
from pagoda_server.process.command_lines import build_engine_command, read_server


def test_the_longest_wait_reaches_the_engines_own_process() -> None:
    flags = ["serve", "--model=/m", "--served-model-name=n", "--socket=/s", "--max-wait-seconds=7.5"]
    config = read_server(build_parser().parse_args(flags)).engine
    command = build_engine_command(config)
    again = read_settings(EngineConfig, build_parser().parse_args(command[3:]))
    assert config.max_wait_seconds == again.max_wait_seconds == 7.5


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan")])
def test_a_wait_that_is_none_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match=f"max_wait_seconds is {seconds}; give a number above 0"):
        EngineConfig(model=Path("/m"), socket=Path("/s"), max_wait_seconds=seconds)


@pytest.mark.parametrize("wrong", [{"max_num_seqs": 0}, {"gpu_memory_fraction": 1.5}, {"max_batched_tokens": 3}])
def test_bad_setting_is_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        EngineConfig(model=Path("m"), socket=Path("s"), **wrong)
