"""The command that the operator writes is one that the server reads, and the architecture page names its flags."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest

from pagoda_guard.flags import read_settings
from pagoda_operator.api import ModelDeployment
from pagoda_operator.api.spec import ReasoningParser, ToolParser
from pagoda_operator.objects.pod import build_pod_template
from pagoda_operator.objects.settings import BuildSettings
from pagoda_server.__main__ import build_parser
from pagoda_server.dialog.choose import REASONING_PARSERS, TOOL_PARSERS
from pagoda_server.engine.config import EngineConfig
from pagoda_server.process.command_lines import build_engine_command, build_front_command, read_front, read_server
from pagoda_server.process.fronts import plan_workers
from pagoda_server.settings import Settings

ARCHITECTURE = Path(__file__).parents[3] / "ARCHITECTURE.md"


def build_command(**spec: Any) -> list[str]:
    mdep = ModelDeployment.model_validate(
        {
            "apiVersion": "pagoda.dev/v1alpha1",
            "kind": "ModelDeployment",
            "metadata": {"name": "chat", "namespace": "team"},
            "spec": {"model": {"uri": "hf://a/b", "name": "public"}, **spec},
        }
    )
    (server,) = build_pod_template(mdep, BuildSettings("control:1", "server:1"))["spec"]["containers"]
    command: list[str] = server["command"]
    return command


def parse_command(command: list[str]) -> Settings:
    assert command[:3] == ["python", "-m", "pagoda_server"]
    return read_server(build_parser().parse_args(command[3:]))


def test_the_server_knows_whose_it_is() -> None:
    settings = parse_command(build_command())
    assert (settings.namespace, settings.model_deployment, settings.served_model_name) == ("team", "chat", "public")


def test_parsers_are_passed_on_where_one_is_named() -> None:
    told = parse_command(build_command(engine={"toolParser": "qwen3_xml", "reasoningParser": "none"}))
    assert (told.tool_parser, told.reasoning_parser) == ("qwen3_xml", "none")
    assert not any("parser" in word for word in build_command()), "pods of an older release stay as they are"


def test_the_resource_knows_the_parsers_that_the_server_knows() -> None:
    assert get_args(ToolParser) == TOOL_PARSERS
    assert get_args(ReasoningParser) == REASONING_PARSERS


def test_deterministic_is_passed_on() -> None:
    assert parse_command(build_command(engine={"deterministic": True})).engine.deterministic
    assert not parse_command(build_command()).engine.deterministic


@pytest.mark.parametrize("caching", [True, False])
def test_the_engine_runs_as_the_spec_says(caching: bool) -> None:
    engine = {
        "maxModelLen": 1024,
        "maxNumSeqs": 8,
        "maxBatchedTokens": 512,
        "prefixCaching": caching,
        "quantization": "fp8",
        "kvCacheDtype": "fp8",
        "tensorParallel": 2,
    }
    config = parse_command(build_command(engine=engine)).engine
    assert (config.max_model_len, config.max_num_seqs, config.max_batched_tokens) == (1024, 8, 512)
    assert config.prefix_caching is caching
    assert (config.quantization, config.kv_cache_dtype, config.tensor_parallel) == ("fp8", "fp8", 2)


def test_the_engine_process_gets_the_settings_of_the_server() -> None:
    config = parse_command(
        build_command(engine={"quantization": "fp8", "kvCacheDtype": "fp8", "tensorParallel": 2})
    ).engine
    args = build_parser().parse_args(build_engine_command(config)[3:])
    assert read_settings(EngineConfig, args) == config


def test_a_front_is_told_what_the_server_was() -> None:
    settings = parse_command(build_command())
    told, front = read_front(build_parser().parse_args(build_front_command(settings, 2, 7, 8)[3:]))
    assert (told.engine.model, front.engine_socket) == (settings.engine.model, settings.engine.socket)
    names = (told.served_model_name, told.namespace, told.model_deployment)
    assert names == (settings.served_model_name, settings.namespace, settings.model_deployment)
    assert (front.number, front.listening_fd, front.tally_fd) == (2, 7, 8)


def test_a_gpu_gets_a_front_for_each_two_cores_and_a_cpu_keeps_its_cores() -> None:
    assert [plan_workers("cuda", cores) for cores in (1, 2, 4, 16, 128)] == [1, 1, 2, 4, 4]
    assert plan_workers("cpu", 128) == 1
    assert parse_command([*build_command(), "--workers", "3"]).workers == 3


def test_the_architecture_page_names_the_flags_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    page = re.search(r"`python -m pagoda_server serve ([^`]*)`", ARCHITECTURE.read_text("utf-8"))
    assert page is not None
    named = set(re.findall(r"--[a-z-]+", page[1]))
    assert {part for part in build_command() if part.startswith("--")} <= named
    with pytest.raises(SystemExit):
        build_parser().parse_args(["serve", "--help"])
    assert named <= set(re.findall(r"--[a-z-]+", capsys.readouterr().out))


def test_the_engines_threads_sleep_while_they_wait(tmp_path: Path) -> None:
    """Threads that spin make a step take a hundred times as long where others use the CPUs too."""
    command = [sys.executable, "-m", "pagoda_server", "engine", f"--model={tmp_path}", f"--socket={tmp_path / 's'}"]
    environ = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    ended = subprocess.run(command, env={**environ, "OMP_DISPLAY_ENV": "verbose"}, capture_output=True, text=True)
    assert "GOMP_SPINCOUNT = '0'" in ended.stderr, ended.stderr
    assert "config.json is missing" in ended.stderr
