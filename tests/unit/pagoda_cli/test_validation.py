"""Every document of a file is judged, and every error is told."""

import pytest

from pagoda_cli.validation import check_content

GOOD = (
    "apiVersion: pagoda.dev/v1alpha1\nkind: ModelDeployment\nmetadata: {name: a}\nspec: {model: {uri: bundled://x}}\n"
)
BAD = """\
apiVersion: pagoda.dev/v1alpha1
kind: ModelDeployment
metadata: {name: b}
spec: {model: {uri: bundled://x}, replicas: -1, engine: {dtype: float8}, nope: 1}
"""
SECRET = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {key: '!'}\n"


def test_all_errors_of_all_documents_are_told_with_their_place() -> None:
    checked = check_content(f"{GOOD}---\n{BAD}---\n{SECRET}---\n[]\n---\na: b\n".encode(), "f.yaml")
    assert [model["metadata"]["name"] for model in checked.models] == ["a"]
    assert [line.split(":")[0:2] for line in checked.errors] == [
        ["f.yaml (document 2)", " spec.engine.dtype"],
        ["f.yaml (document 2)", " spec.replicas"],
        ["f.yaml (document 2)", " spec.nope"],
        ["f.yaml (document 3)", " Secret 's'"],
        ["f.yaml (document 4)", " [] is not a mapping"],
        ["f.yaml (document 5)", " kind"],
    ]


def test_other_kinds_are_said_to_be_left_out() -> None:
    checked = check_content(b"apiVersion: v1\nkind: ConfigMap\n", "f.yaml")
    assert (checked.errors, checked.skipped) == ((), ("f.yaml: 'ConfigMap' is not judged here",))


def test_two_models_of_one_name_are_an_error() -> None:
    (error,) = check_content(f"{GOOD}---\n{GOOD}".encode(), "f.yaml").errors
    assert "two are called 'a'" in error


@pytest.mark.parametrize("content", [b"", b"\xff", b"a: [", b"# nothing\n", b"x" * (1 << 20) + b"y"])
def test_what_is_no_file_of_documents_is_one_error(content: bytes) -> None:
    assert len(check_content(content, "f.yaml").errors) == 1
