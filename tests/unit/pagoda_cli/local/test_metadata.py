"""Metadata that the API server would refuse is refused by name; what it writes itself is passed over."""

from typing import Any

import pytest

from pagoda_cli.local.metadata import MetadataError, read_metadata


def test_what_the_api_server_wrote_is_left_out() -> None:
    found = {"name": "a", "uid": "x", "resourceVersion": "1", "managedFields": [], "labels": {"a.b/c": "d"}}
    assert read_metadata(found) == {"name": "a", "labels": {"a.b/c": "d"}, "namespace": "default"}


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"lables": {}}, r"metadata\.lables: no such field: did you mean labels\?"),
        ({"labels": {"a": 1}}, r"metadata\.labels\.a: must be text \(got 1\): write it in quotes"),
        ({"labels": {"a b": "c"}}, r"metadata\.labels: 'a b' is not a key"),
        ({"labels": {"a": "b c"}}, r"metadata\.labels\.a: 'b c' is not a label's value"),
        ({"labels": {"a": "b" * 64}}, r"63 characters at most"),
        ({"annotations": []}, r"metadata\.annotations: must be a mapping"),
        ({"annotations": {"a/b/c": "d"}}, r"metadata\.annotations: 'a/b/c' is not a key"),
        ({"annotations": {"a": "b" * (256 << 10)}}, r"metadata\.annotations: have 262145 bytes"),
        ({"namespace": "-x"}, r"metadata\.namespace: '-x' is not a namespace"),
        ([], r"metadata: must be a mapping"),
    ],
)
def test_what_is_wrong_is_named(metadata: Any, message: str) -> None:
    with pytest.raises(MetadataError, match=message):
        read_metadata(metadata)
