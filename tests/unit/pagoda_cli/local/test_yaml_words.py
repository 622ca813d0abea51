"""A server speaks of its settings; a user has a YAML."""

import pytest

from pagoda_cli.local.yaml_words import put_in_yaml_words


@pytest.mark.parametrize(
    ("said", "read"),
    [
        (
            "pagoda_server check: max_model_len is 9 but the model knows 5 positions; lower it",
            "engine.maxModelLen is 9 but the model knows 5 positions; lower it",
        ),
        (
            "engine ended with exit code 2: tensor_parallel is 3, which does not divide",
            "engine.tensorParallel is 3, which does not divide",
        ),
        ("deterministic is set but the weights are fp8", "engine.deterministic is set but the weights are fp8"),
        ("config.json: dtype is 'int3'", "config.json: dtype is 'int3'"),
        ("lower max_batched_tokens", "lower engine.maxBatchedTokens"),
        ("front 0 ended with exit code 2: /x/tokenizer.json is missing", "/x/tokenizer.json is missing"),
    ],
)
def test_settings_have_the_names_of_the_file(said: str, read: str) -> None:
    assert put_in_yaml_words(said) == read
