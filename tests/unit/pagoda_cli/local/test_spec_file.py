"""A bad file is answered with file, field, value and fix."""

from pathlib import Path

import pytest

from pagoda_cli.local.spec_file import SpecFileError, parse_spec, read_spec_file

HEAD = "apiVersion: pagoda.dev/v1alpha1\nkind: ModelDeployment\nmetadata: {name: tiny}\n"


def test_secrets_of_the_file_are_read_in_both_forms() -> None:
    secret = "kind: Secret\nmetadata: {name: keys}\nstringData: {a: x}\ndata: {b: eQ==}\n"
    spec = parse_spec(f"{HEAD}spec: {{model: {{uri: 'bundled://pagoda-tiny'}}}}\n---\n{secret}", "f")
    assert spec.secrets == {"keys": {"a": b"x", "b": b"y"}}
    assert spec.deployment.name == "tiny"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{HEAD}spec: {{model: {{uri: 'bundled://x'}}, replicsa: 1}}", r"spec\.replicsa: no such field \(got 1\): did you mean replicas\?"),
        (f"{HEAD}spec: {{model: {{uri: 'bundled://x'}}, replicas: many}}", r"spec\.replicas: .*got 'many'"),
        (f"{HEAD}spec: {{}}", r"spec\.model: is missing: add it"),
        ("kind: Pod", r"no document is a ModelDeployment \(got 'Pod'\): add one"),
        ("- 1", "not a mapping"),
        ("a: [", "not YAML"),
    ],
)
def test_bad_file_is_refused_with_the_field(text: str, message: str) -> None:
    with pytest.raises(SpecFileError, match=message):
        parse_spec(text, "f.yaml")


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecFileError, match=r"absent\.yaml: cannot be read"):
        read_spec_file(tmp_path / "absent.yaml")
