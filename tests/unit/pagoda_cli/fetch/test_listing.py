"""What a hub lists: a Snapshot of what can be true, or one error."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pagoda_cli.fetch.listing import ListingError, Snapshot, is_path, parse_listing
from pagoda_cli.fetch.weights import is_wanted
from tests.doubles.hub_listings import COMMIT, CONFIG, LISTINGS, MODEL, WEIGHTS, list_files

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)
NAMES = st.sampled_from([WEIGHTS, "config.json", "../x.json", "/x.json", "a/b.json", "..", ""]) | st.text(max_size=9)
SIBLINGS = st.fixed_dictionaries({"rfilename": NAMES | VALUES, "size": st.integers() | VALUES, "lfs": VALUES})


@pytest.mark.parametrize("kind", sorted(LISTINGS))
def test_a_listing_that_cannot_be_true_is_refused(kind: str) -> None:
    with pytest.raises(ListingError) as caught:
        parse_listing(LISTINGS[kind])
    assert str(caught.value).isprintable() and len(str(caught.value)) < 400


def test_a_listing_that_can_be_true_is_taken() -> None:
    odd = {"rfilename": "docs/a b.md", "size": None, "lfs": None, "other": 1}
    snapshot = parse_listing(list_files(CONFIG, MODEL | {"lfs": {"sha256": "a" * 64, "pointerSize": 1}}, odd))
    assert [file.name for file in snapshot.files] == ["config.json", WEIGHTS]
    assert snapshot.total_bytes == 4 and snapshot.files[1].sha256 == "a" * 64


def outcome(raw: bytes) -> Snapshot | None:
    try:
        return parse_listing(raw)
    except ListingError:
        return None


@settings(deadline=None)
@given(st.binary())
def test_any_bytes_are_a_snapshot_or_an_error(raw: bytes) -> None:
    outcome(raw)


@settings(deadline=None)
@given(st.lists(SIBLINGS | VALUES, max_size=4))
def test_any_listing_names_files_below_the_folder_only(siblings: list[object]) -> None:
    snapshot = outcome(json.dumps({"sha": COMMIT, "siblings": siblings}).encode())
    if snapshot is not None:
        assert all(is_path(file.name) and file.size_bytes >= 0 for file in snapshot.files)


@pytest.mark.parametrize(
    "name",
    [
        "config.json", WEIGHTS, "model-00001-of-00002.safetensors", "model.safetensors.index.json", "tokenizer.json",
        "tokenizer.model", "tokenizer.model.v3", "spiece.model", "merges.txt", "vocab.txt", "qwen.tiktoken",
        "chat_template.jinja", "additional_chat_templates/tool_use.jinja", "tekken.json",
    ],
)  # fmt: skip
def test_what_belongs_to_a_model_is_wanted(name: str) -> None:
    assert is_wanted(name)


@pytest.mark.parametrize(
    "name",
    [
        "tokenizer.pickle", "tokenizer.so", "tokenizer.py", "tokenizer.PY", "tokenizer", "tokenizer.bin", "a.Bin",
        "pytorch_model.bin", "x.json.py", "x.json\n.so", "x.safetensors\n", ".json", "x.pkl", "README.md", "x.txt",
        "onnx/model.onnx", "original/params.json", "fp16/model.safetensors", "../x.json", "/x.json", "x.dll", "x.json/",
        "additional_chat_templates/x.py", "additional_chat_templates/a/b.jinja", "x.SafeTensors",
    ],
)  # fmt: skip
def test_what_is_not_on_the_list_is_never_wanted(name: str) -> None:
    assert not is_wanted(name)
