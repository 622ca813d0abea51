"""`pagoda fetch hf://…` as a process against a server that speaks the hub's API: what arrives, what is said."""

import asyncio
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from pagoda_operator.plan.pods import check_fetch
from pagoda_operator.plan.world import World
from tests.contract.hub.conftest import Hub

TOKEN = "hf_SECRETsecretSECRET"


@dataclass(frozen=True)
class Fetched:
    code: int
    said: str

    @property
    def reason_line(self) -> str:
        (line,) = [line for line in self.said.splitlines() if line.startswith("Model")]
        return line


async def fetch(url: str, folder: Path, uri: str = "hf://org/name@main", *flags: str, **environment: str) -> Fetched:
    command = (sys.executable, "-m", "pagoda_cli.main", "fetch", uri, str(folder / "models"), *flags)
    paths = os.pathsep.join(path for path in sys.path if path.endswith(("operator", "server_image")))
    settings = {"HF_ENDPOINT": url, "HF_HOME": str(folder / "home"), "PYTHONPATH": paths, "HF_HUB_DISABLE_XET": "1"}
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HF_") and "proxy" not in key.lower()}
    process = await asyncio.create_subprocess_exec(
        *command, env=kept | settings | environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(120):
        said, _ = await process.communicate()
    assert process.returncode is not None
    return Fetched(process.returncode, said.decode())


def names(folder: Path) -> set[str]:
    return {path.name for path in (folder / "models").iterdir() if path.is_file()}


async def test_weights_arrive_whole_and_neither_code_nor_pickles(hub: Hub, tmp_path: Path) -> None:
    fetched = await fetch(hub.url, tmp_path)
    assert fetched.code == 0, fetched.said
    assert names(tmp_path) == {"config.json", "tokenizer.json", "model.safetensors", ".pagoda-complete"}
    assert (tmp_path / "models" / "model.safetensors").read_bytes() == hub.files["model.safetensors"]


async def test_the_configuration_alone_comes_first_and_is_not_fetched_again(hub: Hub, tmp_path: Path) -> None:
    fetched = await fetch(hub.url, tmp_path, "hf://org/name@main", "--configuration")
    assert fetched.code == 0, fetched.said
    assert hub.got == ["config.json"] and names(tmp_path) == {"config.json"}
    assert (await fetch(hub.url, tmp_path)).code == 0
    assert sorted(hub.got) == ["config.json", "model.safetensors", "tokenizer.json"]


async def test_download_that_is_cut_goes_on_where_it_was_cut(hub: Hub, tmp_path: Path) -> None:
    hub.cuts_left = 1
    hub.files["model.safetensors"] *= 24  # what is kept of a cut answer are blocks of 10 MiB or a little more
    whole = len(hub.files["model.safetensors"])
    fetched = await fetch(hub.url, tmp_path)
    assert fetched.code == 0, fetched.said
    [said] = hub.ranges
    assert 10 << 20 <= int(said.removeprefix("bytes=").removesuffix("-")) <= whole // 2
    assert (tmp_path / "models" / "model.safetensors").read_bytes() == hub.files["model.safetensors"]


async def test_second_fetch_keeps_the_files_that_the_first_completed(hub: Hub, tmp_path: Path) -> None:
    hub.keeps_cutting = True
    first = await fetch(hub.url, tmp_path)
    assert first.code == 1
    assert first.reason_line.startswith("ModelDownloadFailed: URI hf://org/name@main: ")
    assert ".pagoda-complete" not in names(tmp_path)
    hub.keeps_cutting = False
    hub.got.clear()
    assert (await fetch(hub.url, tmp_path)).code == 0
    assert hub.got == ["model.safetensors"]


async def test_folder_that_is_not_complete_is_no_model_when_the_hub_is_down(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "config.json").write_text("{}")
    hub.api_status = 500
    fetched = await fetch(hub.url, tmp_path)
    assert fetched.code == 1
    assert fetched.reason_line.startswith("ModelDownloadFailed: URI hf://org/name@main: ")
    assert ".pagoda-complete" not in names(tmp_path)


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (404, "RepoNotFound", "ModelNotFound: URI hf://org/name@main is not on the hub: check organisation and name"),
        (404, "", "ModelNotFound: URI hf://org/name@main is not on the hub: check organisation and name"),
        (404, "RevisionNotFound", "ModelNotFound: URI hf://org/name@main: no revision 'main'"),
        (401, "RepoNotFound", "ModelNotFound: URI hf://org/name@main is not on the hub: check organisation and name"),
        (401, "GatedRepo", "ModelDownloadDenied: URI hf://org/name@main is gated: accept its licence"),
        (403, "GatedRepo", "ModelDownloadDenied: URI hf://org/name@main is gated: accept its licence"),
        (403, "", "ModelDownloadDenied: URI hf://org/name@main: the hub answered HTTP 403"),
    ],
)
async def test_refusal_of_the_hub_is_one_line_with_reason_and_fix(
    hub: Hub, tmp_path: Path, status: int, code: str, expected: str
) -> None:
    hub.api_status, hub.error_code = status, code
    fetched = await fetch(hub.url, tmp_path)
    assert fetched.code == 1
    assert fetched.reason_line.startswith(expected)
    if status != 404:
        assert "model.tokenSecretRef" in fetched.reason_line
    assert read_as_operator(fetched.said) == tuple(fetched.reason_line.split(": ", 1))


def read_as_operator(log: str) -> tuple[str, str]:
    """What the operator makes of it when the kubelet hands it the end of the log."""
    ended = {"name": "fetch", "state": {"terminated": {"exitCode": 1, "message": log}}}
    pod = {"metadata": {"name": "p"}, "status": {"initContainerStatuses": [ended]}}
    problem = check_fetch(World(raw={}, mdep=None, pods=(pod,)))
    assert problem is not None
    return problem.reason, problem.message


async def test_gated_files_of_a_listed_repository_are_denied(hub: Hub, tmp_path: Path) -> None:
    hub.file_status, hub.error_code = 403, "GatedRepo"
    fetched = await fetch(hub.url, tmp_path)
    assert fetched.code == 1
    assert fetched.reason_line.startswith("ModelDownloadDenied: URI hf://org/name@main is gated: ")
    assert "model.tokenSecretRef" in fetched.reason_line


async def test_hub_that_is_not_there_is_a_failed_download(tmp_path: Path) -> None:
    fetched = await fetch("http://127.0.0.1:9", tmp_path)
    assert fetched.code == 1
    assert fetched.reason_line.startswith("ModelDownloadFailed: URI hf://org/name@main: ")


async def test_repository_with_pickles_only_is_refused_before_the_download(hub: Hub, tmp_path: Path) -> None:
    del hub.files["model.safetensors"]
    fetched = await fetch(hub.url, tmp_path)
    assert fetched.code == 1
    assert "ModelNotFound: URI hf://org/name@main has no safetensors weights (only pytorch_model.bin" in fetched.said
    assert hub.got == []


async def test_token_is_sent_and_never_said(hub: Hub, tmp_path: Path) -> None:
    assert (fetched := await fetch(hub.url, tmp_path, HF_TOKEN=TOKEN)).code == 0
    assert hub.tokens == {f"Bearer {TOKEN}"}
    hub.api_status = 401
    refused = await fetch(hub.url, tmp_path / "other", HF_TOKEN=TOKEN)
    assert refused.code == 1
    assert TOKEN not in fetched.said + refused.said
