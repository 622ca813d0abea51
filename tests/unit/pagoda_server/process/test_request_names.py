"""Connections may call their requests the same; the engine tells them apart, and gives each its own name back."""

import pytest

from pagoda_server.process.request_names import add_prefix, build_prefix, split_prefix


@pytest.mark.parametrize("own", ["7", "", "a:b", ":"])
def test_a_connections_own_name_comes_back(own: str) -> None:
    assert split_prefix(add_prefix("12", own)) == ("12", own)


def test_a_connections_names_begin_as_no_others_do() -> None:
    assert add_prefix("1", "7").startswith(build_prefix("1"))
    assert not add_prefix("12", "7").startswith(build_prefix("1"))
