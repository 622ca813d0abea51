"""A file that names a Secret runs here without it where that can be, and is refused where it cannot."""

from typing import Any

import pytest

from pagoda_cli.local.plan import PlanError
from pagoda_cli.local.run_secrets import add_api_key, make_key, refuse_without_token
from pagoda_operator.api import Spec

AUTH = {"auth": {"apiKeysSecretRef": {"name": "llm-keys"}}}
TOKEN = {"model": {"uri": "hf://a/b", "tokenSecretRef": {"name": "hub"}}}


def build_spec(fields: dict[str, Any]) -> Spec:
    return Spec.model_validate({"model": {"uri": "hf://a/b"}} | fields)


def test_a_secret_that_is_not_in_the_file_gets_a_key_of_this_run() -> None:
    secrets, made = add_api_key(build_spec(AUTH), {}, "key")
    assert (secrets, made) == ({"llm-keys": {"local": b"key"}}, "llm-keys")
    assert len(make_key()) == 48 and make_key() != make_key()


def test_a_secret_of_the_file_is_taken_as_it_is() -> None:
    given = {"llm-keys": {"team": b"x"}}
    assert add_api_key(build_spec(AUTH), given, "key") == (given, None)
    assert add_api_key(build_spec({}), given, "key") == (given, None)


def test_a_name_that_is_nearly_that_of_a_secret_is_refused() -> None:
    with pytest.raises(PlanError, match="apiKeysSecretRef.name: .*'llm-keys'.* did you mean 'llm-key'"):
        add_api_key(build_spec(AUTH), {"llm-key": {"team": b"x"}}, "key")


def test_a_token_comes_from_the_file_or_from_the_shell() -> None:
    refuse_without_token(build_spec(TOKEN), {"hub": {"token": b"x"}}, {})
    refuse_without_token(build_spec(TOKEN), {}, {"HF_TOKEN": "x"})
    refuse_without_token(build_spec({}), {}, {})


@pytest.mark.parametrize(
    ("secrets", "message"),
    [
        ({}, "tokenSecretRef: Secret 'hub' is not in the file: add it there .* or set HF_TOKEN"),
        ({"hub": {"tok": b"x"}}, r"tokenSecretRef.key: Secret 'hub' has no 'token' \(it has tok\)"),
        ({"hubs": {"token": b"x"}}, "tokenSecretRef.name: Secret 'hub' is not in the file: did you mean 'hubs'"),
    ],
)
def test_a_token_that_is_nowhere_is_refused(secrets: dict[str, dict[str, bytes]], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        refuse_without_token(build_spec(TOKEN), secrets, {})
