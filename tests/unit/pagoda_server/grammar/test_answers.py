"""What the grammar of a schema lets through validates against that schema, whatever a model would like to say."""

import json

import jsonschema
import pytest

from pagoda_server.dialog.turn import JsonFormat
from pagoda_server.grammar.build import build_grammar
from tests.doubles.grammars import answer, build_constraint
from tests.doubles.schemas import Schema, build_schemas

SCHEMAS = dict(build_schemas())
SEEDS = 3


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_answer_validates(name: str) -> None:
    schema: Schema = SCHEMAS[name]
    grammar = build_grammar(JsonFormat(schema), param="p")
    for seed in range(SEEDS):
        said = answer(build_constraint(grammar), seed)
        assert said is not None, "it never ended"
        jsonschema.validate(json.loads(said), schema)
