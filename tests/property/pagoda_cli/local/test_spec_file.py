"""Whatever a file for `pagoda run` holds, it is a SpecFile or a SpecFileError."""

from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pagoda_cli.local.spec_file import SpecFile, SpecFileError, parse_content
from pagoda_cli.secret import check_key
from pagoda_cli.text import one_line

DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "pagoda.dev/v1alpha1",
    "kind": "ModelDeployment",
    "metadata": {"name": "a"},
    "spec": {"model": {"uri": "bundled://pagoda-tiny"}, "engine": {}, "resources": {}, "rollout": {}, "queue": {}},
}
SECRET: dict[str, Any] = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"k": "v"}}
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)
MARKS = "{}[]|'\"~:1?%#\n\t\x9b"
PIECES = st.sampled_from([*MARKS, "- ", "a: ", "&a ", "*a", "<<: ", "!!int ", "  ", "---\n", "0x"])


def outcome(content: bytes) -> SpecFile | None:
    try:
        return parse_content(content, "f")
    except SpecFileError as error:
        assert len(str(error)) < 20_000
        assert all(line.isprintable() for line in str(error).splitlines())
        return None


@settings(deadline=None)
@given(st.binary())
def test_any_bytes_are_a_file_or_an_error(content: bytes) -> None:
    outcome(content)


@settings(deadline=None)
@given(st.lists(PIECES).map("".join))
def test_any_text_like_yaml_is_a_file_or_an_error(text: str) -> None:
    outcome(text.encode(errors="replace"))


@settings(deadline=None)
@given(st.data())
def test_any_value_at_any_place_is_a_file_or_an_error(data: st.DataObject) -> None:
    documents = [DEPLOYMENT, SECRET]
    index = data.draw(st.sampled_from([0, 1]))
    documents[index] = replace_somewhere(data, documents[index])
    spec = outcome(yaml.safe_dump_all(documents, allow_unicode=True).encode(errors="replace"))
    if spec is not None:
        assert all(check_key(key) is None for secret in spec.secrets.values() for key in secret)


def replace_somewhere(data: st.DataObject, value: dict[str, Any]) -> dict[str, Any]:
    key = data.draw(st.sampled_from(sorted(value)) | st.text(max_size=8))
    inner = value.get(key)
    deeper = isinstance(inner, dict) and data.draw(st.booleans())
    return value | {key: replace_somewhere(data, inner) if deeper and inner else data.draw(VALUES)}


@given(st.text())
def test_one_line_is_one_and_prints(text: str) -> None:
    assert one_line(text).isprintable()
