"""`pagoda fetch`: what it takes, what it refuses, what it leaves behind."""

from importlib import resources
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pagoda_cli.fetch import model as fetch
from pagoda_cli.fetch.hub import explain_hub_error
from pagoda_cli.fetch.model import MARKER, fetch_model
from pagoda_cli.fetch.model_uri import FetchError, parse_uri
from pagoda_cli.main import app


@pytest.fixture
def said() -> list[str]:
    return []


def make_model(folder: Path) -> Path:
    folder.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json", "pytorch_model.bin", "modeling.py"):
        (folder / name).write_text(name)
    return folder


def test_hf_uri_is_split_into_repository_and_revision() -> None:
    uri = parse_uri("hf://org/name@main")
    assert (uri.scheme, uri.path, uri.revision) == ("hf", "org/name", "main")
    assert parse_uri("hf://org/name").revision is None


@pytest.mark.parametrize("text", ["", "model", "hf://name", "hf://a/b/c", "file://x", "s3://b/k", "bundled://../x"])
def test_bad_uri_is_refused_with_its_text_and_a_fix(text: str) -> None:
    with pytest.raises(FetchError, match="ModelNotFound: URI .*: ") as caught:
        parse_uri(text)
    assert text in str(caught.value)


def test_file_uri_brings_weights_but_neither_code_nor_pickles(tmp_path: Path, said: list[str]) -> None:
    source = make_model(tmp_path / "source")
    fetch_model(f"file://{source}", tmp_path / "dest", said.append)
    names = {path.name for path in (tmp_path / "dest").iterdir()}
    assert names == {"config.json", "model.safetensors", "tokenizer.json", MARKER}


def test_complete_model_is_not_fetched_again(tmp_path: Path, said: list[str]) -> None:
    fetch_model("bundled://pagoda-tiny", tmp_path, said.append)
    (tmp_path / "config.json").unlink()
    fetch_model("bundled://pagoda-tiny", tmp_path, said.append)
    assert not (tmp_path / "config.json").exists()
    assert "is complete" in said[-1]


def test_links_into_a_folder_follow_what_is_there_now(tmp_path: Path, said: list[str]) -> None:
    source = make_model(tmp_path / "source")
    fetch_model(f"file://{source}", tmp_path / "dest", said.append)
    (source / "model-2.safetensors").write_bytes(b"x")
    fetch_model(f"file://{source}", tmp_path / "dest", said.append)
    assert (tmp_path / "dest" / "model-2.safetensors").read_bytes() == b"x"


def test_a_folder_that_is_used_in_place_is_left_as_it_is(tmp_path: Path, said: list[str]) -> None:
    source = make_model(tmp_path / "source")
    (source / "config.json").write_text("{}")
    before = {path.name: path.read_bytes() for path in source.iterdir()}
    fetch_model(f"file://{source}", source, said.append)
    assert {path.name: path.read_bytes() for path in source.iterdir()} == before
    assert not any(path.is_symlink() for path in source.iterdir())


def test_weights_of_two_models_never_mix(tmp_path: Path, said: list[str]) -> None:
    first, second = make_model(tmp_path / "a"), make_model(tmp_path / "b")
    (first / "extra.safetensors").write_text("")
    fetch_model(f"file://{first}", tmp_path / "dest", said.append)
    fetch_model(f"file://{second}", tmp_path / "dest", said.append)
    assert not (tmp_path / "dest" / "extra.safetensors").exists()


def test_mounted_claim_is_only_checked(tmp_path: Path, said: list[str]) -> None:
    with pytest.raises(FetchError, match=r"pvc://claim/x has no config\.json"):
        fetch_model("pvc://claim/x", tmp_path, said.append)
    (tmp_path / "config.json").write_text("{}")
    fetch_model("pvc://claim/x", tmp_path, said.append)
    assert not (tmp_path / MARKER).exists()


def test_bundled_model_is_copied_from_the_package(
    tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_model(tmp_path / "tiny")
    monkeypatch.setattr(resources, "files", lambda package: tmp_path)
    fetch_model("bundled://tiny", tmp_path / "out" / "dest", said.append)
    assert (tmp_path / "out" / "dest" / "model.safetensors").read_text() == "model.safetensors"
    assert not (tmp_path / "out" / "dest" / "modeling.py").exists()
    (tmp_path / "tiny" / "model.safetensors").write_text("trained anew")
    fetch_model("bundled://tiny", tmp_path / "out" / "dest", said.append)
    assert (tmp_path / "out" / "dest" / "model.safetensors").read_text() == "trained anew"
    fetch_model("bundled://tiny", tmp_path / "out" / "dest", said.append)
    assert said[-1].startswith("fetch: bundled://tiny is complete"), said
    with pytest.raises(FetchError, match="bundled://other is not shipped: use bundled://tiny"):
        fetch_model("bundled://other", tmp_path / "out" / "dest", said.append)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("GatedRepoError", "ModelDownloadDenied"),
        ("RepositoryNotFoundError", "ModelNotFound"),
        ("RevisionNotFoundError", "ModelNotFound"),
    ],
)
def test_hub_errors_become_the_reasons_of_the_condition(name: str, reason: str) -> None:
    from huggingface_hub import errors

    kind = getattr(errors, name)
    error = kind.__new__(kind)
    assert explain_hub_error(parse_uri("hf://org/name@v1"), error).reason == reason


def test_other_hub_error_says_what_happened() -> None:
    explained = explain_hub_error(parse_uri("hf://org/name"), ConnectionError("no route"))
    assert explained.reason == "ModelDownloadFailed"
    assert "no route" in str(explained)


def test_failure_is_left_in_an_existing_termination_log_only(tmp_path: Path) -> None:
    error = FetchError("ModelNotFound", "URI x")
    fetch.report_failure(error, tmp_path / "absent")
    assert not (tmp_path / "absent").exists()
    (tmp_path / "log").touch()
    fetch.report_failure(error, tmp_path / "log")
    assert (tmp_path / "log").read_text() == "ModelNotFound: URI x\n"


def test_a_termination_log_that_cannot_be_written_changes_nothing() -> None:
    fetch.report_failure(FetchError("ModelNotFound", "URI x"), Path("/dev/full"))


def test_no_text_of_a_hub_reaches_a_terminal_as_it_is() -> None:
    explained = explain_hub_error(parse_uri("hf://org/name"), ConnectionError("\x1b[2J\nno\x07\u202eroute\x9b"))
    assert str(explained).isprintable()
    assert "[2J no route" in str(explained)


@pytest.mark.parametrize(
    "text",
    [
        "403 for url 'https://cdn.example/x?Signature=SECRET&Policy=y'",
        "cannot reach https://user:SECRET@hub.example/api",
        "the header hf_SECRET is odd",
    ],
)
def test_neither_token_nor_signature_nor_password_is_in_a_message(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_SECRET")
    assert "SECRET" not in str(explain_hub_error(parse_uri("hf://org/name"), ConnectionError(text)))


def test_a_folder_that_cannot_be_written_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = CliRunner().invoke(app, ["fetch", "bundled://pagoda-tiny", str(tmp_path / "file" / "models")])
    assert result.exit_code == 1
    (line,) = [line for line in result.output.splitlines() if line]
    assert line.startswith("ModelDownloadFailed: URI bundled://pagoda-tiny: cannot write ")


@pytest.mark.parametrize("content", ["[]", "{", "[" * 100_000, '{"a": ' * 100_000])
def test_a_mounted_configuration_that_is_no_object_is_said(tmp_path: Path, said: list[str], content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(FetchError, match=r"config\.json is not a JSON object: choose another"):
        fetch_model("pvc://claim/x", tmp_path, said.append)


def test_a_mounted_configuration_without_end_is_not_read_to_it(tmp_path: Path, said: list[str]) -> None:
    with (tmp_path / "config.json").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(FetchError, match=r"config\.json has more than 10485760 bytes"):
        fetch_model("pvc://claim/x", tmp_path, said.append)


def test_infinity_in_a_configuration_is_no_fault(tmp_path: Path, said: list[str]) -> None:
    (tmp_path / "config.json").write_text('{"time_step_limit": [0.0, Infinity]}')
    fetch_model("pvc://claim/x", tmp_path, said.append)
