"""What `pagoda run` may be given, and what it says of anything else."""

import io
import json
from pathlib import Path

import pytest

from pagoda_cli.local import source
from pagoda_cli.local.gpus import Gpus
from pagoda_cli.local.source import name_deployment, read_source
from pagoda_cli.local.spec_file import SpecFileError

YAML = (
    "apiVersion: pagoda.dev/v1alpha1\nkind: ModelDeployment\nmetadata: {name: tiny}\n"
    "spec: {model: {uri: 'bundled://pagoda-tiny'}}\n"
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(source, "find_gpus", lambda: Gpus())
    return tmp_path


def make_model(folder: Path) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({}))
    return folder


def test_a_file_is_read_and_followed(folder: Path) -> None:
    (folder / "m.yaml").write_text(YAML)
    found = read_source("m.yaml")
    assert (found.spec.deployment.name, found.file) == ("tiny", Path("m.yaml"))


def test_standard_input_is_read_and_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(YAML.encode())))
    found = read_source("-")
    assert (found.spec.deployment.name, found.file) == ("tiny", None)


@pytest.mark.parametrize(
    ("argument", "uri", "name", "model"),
    [
        ("Qwen/Qwen3-0.6B", "hf://Qwen/Qwen3-0.6B", "qwen3-0-6b", "Qwen/Qwen3-0.6B"),
        ("Qwen/Qwen3-0.6B@main", "hf://Qwen/Qwen3-0.6B@main", "qwen3-0-6b", "Qwen/Qwen3-0.6B"),
        ("hf://a/b", "hf://a/b", "b", "a/b"),
        ("bundled://pagoda-tiny", "bundled://pagoda-tiny", "pagoda-tiny", "pagoda-tiny"),
    ],
)
def test_a_model_needs_no_file(argument: str, uri: str, name: str, model: str) -> None:
    deployment = read_source(argument).spec.deployment
    assert (deployment.spec.model.uri, deployment.name, deployment.served_model_name) == (uri, name, model)


def test_a_folder_is_served_where_it_is(folder: Path) -> None:
    model = make_model(folder / "My Model_7B")
    for argument in ("My Model_7B", f"file://{model}"):
        deployment = read_source(argument).spec.deployment
        assert deployment.spec.model.uri == f"file://{model}"
        assert (deployment.name, deployment.served_model_name) == ("my-model-7b", "My-Model_7B")


def test_a_model_runs_on_the_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_source("a/b").spec.deployment.spec.gpus == 0
    monkeypatch.setattr(source, "find_gpus", lambda: Gpus(("0", "1")))
    assert read_source("a/b").spec.deployment.spec.gpus == 1
    assert read_source("bundled://pagoda-tiny").spec.deployment.spec.gpus == 0


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("quikstart.yaml", r"there is no such file: did you mean quickstart\.yaml\?"),
        ("x/quickstart.yaml", r"there is no such file: give a YAML file"),
        ("pagoda-tyny", r"did you mean bundled://pagoda-tiny\?"),
        ("empty", r"empty: is a folder without a model: give the folder of a model"),
        ("files", r"files: is a folder without a model: did you mean files/a\.yaml\?"),
        ("file://relative", r"file://relative: is not absolute: write file:///"),
        ("file:///nowhere/at/all", r"there is no such folder: correct the path"),
        ("s3://bucket/key", r"s3://bucket/key.: model\.uri must be hf://"),
        ("a b/c", r"there is no such file: give a YAML file"),
        ("a" * 5000 + ".yaml", r"cannot be read: File name too long: give a YAML file"),
    ],
)
def test_anything_else_is_answered_with_what_was_meant(folder: Path, argument: str, message: str) -> None:
    (folder / "quickstart.yaml").write_text(YAML)
    (folder / "empty").mkdir()
    (folder / "files").mkdir()
    (folder / "files" / "a.yaml").write_text(YAML)
    with pytest.raises(SpecFileError, match=message):
        read_source(argument)


@pytest.mark.parametrize(("name", "made"), [("7B", "model-7b"), ("a" * 99, "a" * 40), ("...", "model"), ("Ünï", "n")])
def test_a_name_becomes_one_that_a_service_may_have(name: str, made: str) -> None:
    assert name_deployment(name) == made
