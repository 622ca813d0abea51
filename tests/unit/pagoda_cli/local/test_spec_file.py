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
        (
            f"{HEAD}spec: {{model: {{uri: 'bundled://x'}}, replicsa: 1}}",
            r"spec\.replicsa: no such field \(got 1\): did you mean replicas\?",
        ),
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


def test_a_kind_that_is_nearly_right_is_named() -> None:
    with pytest.raises(SpecFileError, match=r"\(got 'ModelDeploymnet'\): did you mean ModelDeployment\?"):
        parse_spec("kind: ModelDeploymnet", "f.yaml")


def test_what_the_api_server_leaves_out_is_left_out() -> None:
    plain = f"{HEAD}spec: {{model: {{uri: 'bundled://x'}}, engine: {{dtype: auto}}}}\n"
    written = f"{plain.replace('auto', 'null')}status: {{replicas: many}}\n"
    assert parse_spec(written, "f").deployment.spec.engine == parse_spec(plain, "f").deployment.spec.engine


def test_a_field_without_value_and_default_is_named() -> None:
    with pytest.raises(SpecFileError) as caught:
        parse_spec(f"{HEAD}spec: {{model: {{uri: 'bundled://x'}}, replicas: null, engine: {{maxModelLen: }}}}", "f")
    assert str(caught.value).splitlines() == [
        "f: spec.replicas: has no value: give one, or remove it",
        "f: spec.engine.maxModelLen: has no value: give one, or remove it",
    ]


def test_a_comment_and_another_order_change_nothing() -> None:
    one = f"{HEAD}spec: {{model: {{uri: 'bundled://x', name: a}}, replicas: 2}}\n"
    other = f"# a comment\n{HEAD}spec:\n  replicas:   2\n  model:\n    name: a\n    uri: bundled://x\n"
    assert parse_spec(one, "f") == parse_spec(other, "f")
    assert parse_spec(one, "f") != parse_spec(one.replace("replicas: 2", "replicas: 3"), "f")


def test_a_folder_of_this_machine_is_kept_and_the_rest_of_the_model_still_checked() -> None:
    spec = parse_spec(f"{HEAD}spec: {{model: {{uri: 'file:///srv/model', name: a}}}}", "f").deployment.spec
    assert (spec.model.uri, spec.model.name, spec.gpus) == ("file:///srv/model", "a", 1)
    for uri in ("file://srv/model", "s3://a/b"):
        with pytest.raises(SpecFileError, match="model.uri must be"):
            parse_spec(f"{HEAD}spec: {{model: {{uri: '{uri}'}}}}", "f")
    with pytest.raises(SpecFileError, match="model.cache is only for"):
        parse_spec(f"{HEAD}spec: {{model: {{uri: 'file:///a', cache: {{existingClaim: c}}}}}}", "f")


def test_documents_of_other_kinds_are_told() -> None:
    others = "---\nkind: Namespace\n---\nkind: Secret\nmetadata: {name: a}\n"
    text = f"{HEAD}spec: {{model: {{uri: 'bundled://x'}}}}\n{others}"
    assert parse_spec(text, "f").others == ("'Namespace'",)
