"""A Secret of the file is held to what the API server takes: its keys become names of files."""

import pytest

from pagoda_cli.local.spec_file import SpecFileError, parse_spec

HEAD = "apiVersion: pagoda.dev/v1alpha1\nkind: ModelDeployment\nmetadata: {name: tiny}\n"
DEPLOYMENT = f"{HEAD}spec: {{model: {{uri: 'bundled://pagoda-tiny'}}}}\n---\n"


def parse_secret(body: str, name: str = "keys") -> dict[str, bytes]:
    spec = parse_spec(f"{DEPLOYMENT}kind: Secret\nmetadata: {{name: {name}}}\n{body}", "f.yaml")
    return dict(spec.secrets[name])


@pytest.mark.parametrize(
    "key",
    ["../../x", "/etc/x", "", ".", "..", "..data", r"a\0b", r"a\\b", "a/b", "a" * 254, "a b", "ä", r"a\n", "a:b"],
)
@pytest.mark.parametrize("field", ["data", "stringData"])
def test_a_key_that_kubernetes_refuses_is_refused_with_field_value_and_fix(key: str, field: str) -> None:
    with pytest.raises(SpecFileError, match=rf"f\.yaml: Secret 'keys': {field}: the key .*: ") as caught:
        parse_secret(f'{field}: {{"{key}": eA==}}\n')
    assert "\n" not in str(caught.value) and "\0" not in str(caught.value)


def test_a_key_that_kubernetes_takes_is_taken() -> None:
    keys = ["a", ".hidden", "a..b", "A-1_b.c", "a" * 253]
    assert set(parse_secret("stringData:\n" + "".join(f"  {key}: x\n" for key in keys))) == set(keys)


@pytest.mark.parametrize("name", ["'../x'", "''", "null", "5", "A", "a_b", "'a/b'", "-a", "a.-b", "a" * 254, "[a]"])
def test_a_name_that_kubernetes_refuses_is_refused(name: str) -> None:
    with pytest.raises(SpecFileError, match=r"Secret: metadata\.name: .* is not a name: give a name of"):
        parse_spec(f"{DEPLOYMENT}kind: Secret\nmetadata: {{name: {name}}}\n", "f")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("data: {a: '***'}", r"data\.a: not base64: encode it, or put the plain text under stringData"),
        ("data: {a: eQ}", r"data\.a: not base64"),
        ("data: {a: ä}", r"data\.a: not base64"),
        ("data: {a: 5}", r"data\.a: not text: write the value in quotes"),
        ("data: [a]", "data: not a mapping"),
        ("stringData: {a: 1.5}", r"stringData\.a: not text"),
        ("stringData: {a: true}", r"stringData\.a: not text"),
        ("stringData: {a: null}", r"stringData\.a: not text"),
        ("stringData: {a: {b: c}}", r"stringData\.a: not text"),
        ("stringData: text", "stringData: not a mapping"),
        ("stringdata: {a: b}", "'stringdata': no such field: remove it or correct its name"),
        ("apiVersion: v2", "apiVersion: not v1"),
    ],
)
def test_a_secret_with_another_type_is_refused_without_its_value(body: str, message: str) -> None:
    with pytest.raises(SpecFileError, match=message) as caught:
        parse_secret(body)
    assert "***" not in str(caught.value)


def test_two_secrets_of_one_name_are_refused() -> None:
    secret = "kind: Secret\nmetadata: {name: keys}\n"
    with pytest.raises(SpecFileError, match="Secret 'keys': there are two of that name: remove one"):
        parse_spec(f"{DEPLOYMENT}{secret}---\n{secret}", "f")


def test_base64_over_several_lines_is_taken_as_kubernetes_takes_it() -> None:
    assert parse_secret("data:\n  a: |\n    eA==\n") == {"a": b"x"}
