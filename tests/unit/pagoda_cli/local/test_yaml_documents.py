"""The file's YAML: what a person writes is read, what a stranger could have put there ends in words."""

from pathlib import Path

import pytest

from pagoda_cli.local.spec_file import MAX_FILE_BYTES, SpecFileError, parse_content, read_spec_file
from pagoda_cli.local.yaml_documents import MAX_NODES, YamlError, load_documents

HEAD = b"apiVersion: pagoda.dev/v1alpha1\nkind: ModelDeployment\n"
LAUGHS = "a0: &a0 [lol, lol]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40))
MERGES = "a0: &a0 {k: v}\n" + "".join(f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}\n" for i in range(1, 40))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LAUGHS, f"more than {MAX_NODES} values"),
        (MERGES, f"more than {MAX_NODES} values"),
        ("a: &a [*a]", "the anchor 'a' holds itself"),
        ("a: *b", "undefined alias"),
        ("[" * 100_000, "nested deeper than 64"),
        ("- " * 100_000, "nested deeper than 64"),
        ("{a: " * 100_000, "nested deeper than 64"),
        ("a,".join(["["] + [""] * 300_000), f"more than {MAX_NODES} values"),
        ("---\n" * 250_000, f"more than {MAX_NODES} values"),
        ("a: 1\na: 2", r"the key 'a' is there twice \(line 2, column 1\)"),
        ("1: a", "a key is not text: write it in quotes"),
        ("on: a", "a key is not text"),
        ("null: a", "a key is not text"),
        ("? [a]\n: b", "a key is not text"),
        ("a: !!python/object/apply:os.system [id]", "the tag .* is not read here: remove it"),
        ("a: !!binary eA==", "is not read here"),
        ("a: !!int x", "is not read here"),
        ("a: !own x", "is not read here"),
        ("\ta: b", r"cannot start any token"),
        ("a: b: c", "line 1"),
        ("a: \x00", "a character that YAML does not have"),
        ("a: 0b_", "a number that cannot be read"),
        ("a: 0x" + "f" * 30, "a number is beyond"),
        ("a: " + "9" * 5000, "a number has 5000 characters"),
        ("a: " + "1:" * 50_000 + "1", "a number has 100001 characters"),
        ("a: " + "1:" * 50_000 + "1.0", "a number has 100003 characters"),
    ],
)
def test_what_is_not_read_ends_in_words_and_a_place(text: str, message: str) -> None:
    with pytest.raises(YamlError, match=message) as caught:
        load_documents(text)
    assert len(str(caught.value)) < 300


def test_what_a_person_writes_is_read_as_kubernetes_reads_it() -> None:
    text = """
base: &base {x: 1, y: [yes, 1.5, ~]}
day: 2024-01-01
equals: =
merged:
  <<: *base
  x: 2
port: !!str 80
---
---
second: |
  text
"""
    assert load_documents(text) == [
        {
            "base": {"x": 1, "y": [True, 1.5, None]},
            "day": "2024-01-01",
            "equals": "=",
            "merged": {"x": 2, "y": [True, 1.5, None]},
            "port": "80",
        },
        {"second": "text\n"},
    ]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"metadata: null\nspec: {}", r"metadata: must be a mapping \(got None\)"),
        (b"metadata: [a]\nspec: {}", r"metadata: must be a mapping \(got \['a'\]\)"),
        (b"metadata: {name: a, namespace: '--x'}\nspec: {}", r"metadata\.namespace: '--x' is not a namespace"),
        (b"metadata: {name: a, namespace: 5}\nspec: {}", r"metadata\.namespace: 5 is not a namespace"),
        (b"metadata: {name: 5}\nspec: {}", r"metadata\.name: .*got 5"),
        (b"metadata: {name: a}\nspec: []", r"spec: "),
        (b"metadata: {name: a}\nspec: {model: {uri: 'bundled://x'}, replicas: .nan}", r"spec\.replicas: .*got nan"),
        (b"metadata: {name: a}\nspec: {model: {uri: 'bundled://x'}, replicas: 1e999}", r"spec\.replicas: "),
        (b"metadata: {name: a}\nspec: {model: {uri: 'bundled://x'}, resources: {memory: .inf}}", r"spec\.resources"),
        (b"metadata: {name: a}\nspec: {model: {uri: 2024-01-01}}", r"model\.uri must be"),
        (b'metadata: {name: a}\nspec: {model: {uri: "bundled://x"}, "repl\\u009bicas": 1}', r"spec\.repl icas: "),
        (b"\xff\xfe", "not UTF-8 at byte "),
    ],
)
def test_a_wrong_value_is_named_with_its_field(body: bytes, message: str) -> None:
    with pytest.raises(SpecFileError, match=message) as caught:
        parse_content(HEAD + body, "f.yaml")
    assert all(line.isprintable() for line in str(caught.value).splitlines())


def test_a_long_value_is_quoted_short_and_many_errors_are_counted() -> None:
    spec = "x: " + "a" * 100_000 + "\n" + "".join(f"  f{i}: 1\n" for i in range(1000))
    with pytest.raises(SpecFileError) as caught:
        parse_content(HEAD + f"metadata: {{name: a}}\nspec:\n  {spec}".encode(), "f.yaml")
    lines = str(caught.value).splitlines()
    assert len(lines) == 21 and lines[-1].endswith(" more")
    assert max(map(len, lines)) < 300


def test_a_file_too_large_is_not_read_to_its_end() -> None:
    with pytest.raises(SpecFileError, match=f"more than {MAX_FILE_BYTES} bytes"):
        read_spec_file(Path("/dev/zero"))


@pytest.mark.parametrize("path", ["/", "no\0name", "/proc/self/mem"])
def test_what_is_no_file_is_said(path: str) -> None:
    with pytest.raises(SpecFileError, match="cannot be read"):
        read_spec_file(Path(path))


def test_a_byte_order_mark_is_no_fault() -> None:
    body = b"metadata: {name: a}\nspec: {model: {uri: 'bundled://pagoda-tiny'}}"
    assert parse_content(b"\xef\xbb\xbf" + HEAD + body, "f").deployment.name == "a"
