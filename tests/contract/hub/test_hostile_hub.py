"""A hub that lies, floods, stalls or sends elsewhere: a fetch ends with one line, and nothing is left on the disk."""

import hashlib
import os
from pathlib import Path

import pytest

from tests.contract.hub.conftest import Hub
from tests.contract.hub.test_fetch_hub import Fetched, fetch, names
from tests.doubles.hub_listings import LISTINGS, WEIGHTS


async def refuse(hub: Hub, folder: Path, **environment: str) -> Fetched:
    fetched = await fetch(hub.url, folder, **environment)
    assert fetched.code == 1, fetched.said
    assert "Traceback" not in fetched.said
    assert fetched.reason_line.startswith("ModelDownloadFailed: URI hf://org/name@main: ")
    return fetched


def left_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in (folder / "models").rglob("*") if path.is_file())


async def test_an_answer_without_end_is_ended_at_the_size_that_is_listed(hub: Hub, tmp_path: Path) -> None:
    hub.floods = True
    fetched = await refuse(hub, tmp_path)
    assert "the hub sends more of model.safetensors than the size that it lists" in fetched.reason_line
    assert left_bytes(tmp_path) < 1000
    assert hub.sent_bytes < 64 << 20


async def test_a_length_that_is_not_the_listed_one_is_refused_before_the_first_byte(hub: Hub, tmp_path: Path) -> None:
    hub.listed[WEIGHTS] = {"size": 1000}
    fetched = await refuse(hub, tmp_path)
    assert "the hub sends 1048576 bytes of model.safetensors, of which it lists 1000" in fetched.reason_line
    assert WEIGHTS not in names(tmp_path)


async def test_more_than_the_disk_has_is_refused_before_the_first_byte(hub: Hub, tmp_path: Path) -> None:
    hub.listed[WEIGHTS] = {"size": 2**53}
    fetched = await refuse(hub, tmp_path)
    assert "its files need 9007199.255 GB" in fetched.reason_line and "GB free: make room" in fetched.reason_line
    assert hub.got == []


async def test_a_hub_that_falls_silent_ends_the_fetch(hub: Hub, tmp_path: Path) -> None:
    hub.is_silent = True
    fetched = await refuse(hub, tmp_path, HF_HUB_DOWNLOAD_TIMEOUT="1")
    assert "timed out" in fetched.reason_line
    assert left_bytes(tmp_path) < 1000


async def test_a_file_that_is_not_the_listed_one_is_refused(hub: Hub, tmp_path: Path) -> None:
    hub.listed[WEIGHTS] = {"lfs": {"sha256": "0" * 64, "size": 1}}
    fetched = await refuse(hub, tmp_path)
    assert "its SHA-256 differs" in fetched.reason_line
    assert WEIGHTS not in names(tmp_path)


async def test_a_file_with_the_listed_digest_is_taken_also_when_it_was_cut(hub: Hub, tmp_path: Path) -> None:
    hub.cuts_left = 1
    hub.files[WEIGHTS] *= 24
    hub.listed[WEIGHTS] = {"lfs": {"sha256": hashlib.sha256(hub.files[WEIGHTS]).hexdigest()}}
    fetched = await fetch(hub.url, tmp_path)
    assert fetched.code == 0, fetched.said


async def test_a_compressed_answer_is_not_inflated(hub: Hub, tmp_path: Path) -> None:
    hub.head = {"Content-Encoding": "gzip"}
    assert "compresses what it was asked to send as it is" in (await refuse(hub, tmp_path)).reason_line


@pytest.mark.parametrize("target", ["ftp://127.0.0.1/x", "file:///etc/passwd", "/org/name/resolve/x/model.safetensors"])
async def test_a_redirect_to_another_scheme_or_without_end_is_not_followed(
    hub: Hub, tmp_path: Path, target: str
) -> None:
    hub.redirects_to = target
    assert "the hub redirects" in (await refuse(hub, tmp_path)).reason_line
    assert WEIGHTS not in names(tmp_path)


@pytest.mark.parametrize("kind", ["above", "long listing"])
async def test_a_listing_that_cannot_be_true_is_refused_before_the_first_byte(
    hub: Hub, tmp_path: Path, kind: str
) -> None:
    hub.raw_listing = LISTINGS[kind]
    fetched = await refuse(hub, tmp_path)
    assert hub.got == []
    assert fetched.reason_line.isprintable() and len(fetched.reason_line) < 500
    assert os.listdir(tmp_path) == ["models"] or set(os.listdir(tmp_path)) == {"models", "home"}


async def test_neither_code_nor_pickles_by_any_name_are_fetched(hub: Hub, tmp_path: Path) -> None:
    for name in ("tokenizer.py", "tokenizer.pickle", "tokenizer.so", "tokenizer_x.PY", "x.Bin", "x.json.pkl"):
        hub.files[name] = b"code"
    hub.files["merges.txt"] = b"text"
    assert (await fetch(hub.url, tmp_path)).code == 0
    assert set(hub.got) == {"config.json", "tokenizer.json", WEIGHTS, "merges.txt"}


@pytest.mark.parametrize("content", [b"[]", b"[" * 100_000])
async def test_a_configuration_that_is_no_object_is_no_model(hub: Hub, tmp_path: Path, content: bytes) -> None:
    hub.files["config.json"] = content
    fetched = await fetch(hub.url, tmp_path)
    assert fetched.code == 1
    assert fetched.reason_line.startswith("ModelNotFound: URI hf://org/name@main: config.json is not a JSON object: ")
    assert ".pagoda-complete" not in names(tmp_path)


async def test_a_file_of_another_commit_is_not_kept_for_its_size(hub: Hub, tmp_path: Path) -> None:
    hub.keeps_cutting = True
    assert (await fetch(hub.url, tmp_path)).code == 1
    hub.keeps_cutting = False
    (tmp_path / "models" / ".pagoda-fetch" / "commit").write_text("f" * 40)
    hub.got.clear()
    assert (await fetch(hub.url, tmp_path)).code == 0
    assert set(hub.got) == {"config.json", "tokenizer.json", WEIGHTS}
