"""Whom the front proxy is said to be: parsed whole, or nobody is trusted."""

import json
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagoda_operator.metrics_api.certificates import build_bundle
from pagoda_operator.metrics_api.trust import CA_KEY, NAMES_KEY, Trust, TrustError, is_trusted, parse_trust

CA = build_bundle(("localhost",), datetime(2026, 1, 1, tzinfo=UTC)).ca_pem.decode()


def client(*names: str) -> dict[str, object]:
    return {"subject": tuple((("commonName", name),) for name in names)}


def test_no_list_of_names_allows_every_name_that_the_ca_signed() -> None:
    for data in ({CA_KEY: CA}, {CA_KEY: CA, NAMES_KEY: ""}, {CA_KEY: CA, NAMES_KEY: "[]"}):
        assert is_trusted(client("anyone"), parse_trust(data))


def test_only_a_name_of_the_list_is_trusted() -> None:
    trust = parse_trust({CA_KEY: CA, NAMES_KEY: '["front-proxy-client"]'})
    assert is_trusted(client("other", "front-proxy-client"), trust)
    assert not is_trusted(client("other"), trust)
    assert not is_trusted(client(), trust)


def test_without_a_certificate_or_without_trust_nobody_is_trusted() -> None:
    assert not is_trusted(None, Trust(CA))
    assert not is_trusted(client("anyone"), None)


@pytest.mark.parametrize(
    ("data", "key"),
    [
        ({}, CA_KEY),
        ({CA_KEY: ""}, CA_KEY),
        ({CA_KEY: "nonsense"}, CA_KEY),
        ({CA_KEY: "\ud800"}, CA_KEY),
        ({CA_KEY: CA.replace("M", "?")}, CA_KEY),
        ({CA_KEY: CA * 1000}, CA_KEY),
        ({CA_KEY: CA, NAMES_KEY: "null"}, NAMES_KEY),
        ({CA_KEY: CA, NAMES_KEY: "[1]"}, NAMES_KEY),
        ({CA_KEY: CA, NAMES_KEY: '"front-proxy-client"'}, NAMES_KEY),
        ({CA_KEY: CA, NAMES_KEY: "[" * 50_000}, NAMES_KEY),
        ({CA_KEY: CA, NAMES_KEY: '["' + "a" * 100_000 + '"]'}, NAMES_KEY),
    ],
)
def test_what_cannot_be_read_is_said_by_name_and_is_no_trust(data: dict[str, str], key: str) -> None:
    with pytest.raises(TrustError, match=key):
        parse_trust(data)


@given(st.text(max_size=200), st.text(max_size=200))
def test_any_configuration_is_a_trust_or_one_error(ca: str, names: str) -> None:
    for data in ({CA_KEY: ca, NAMES_KEY: names}, {CA_KEY: CA, NAMES_KEY: names}):
        with suppress(TrustError):
            assert all(isinstance(name, str) for name in parse_trust(data).allowed_names)


def test_names_survive_json() -> None:
    assert parse_trust({CA_KEY: CA, NAMES_KEY: json.dumps(["a", "b"])}).allowed_names == ("a", "b")
