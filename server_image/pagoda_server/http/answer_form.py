"""The form that an answer is to have, in OpenAI's spelling and in both of vLLM's; one request asks for one."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import orjson
from pydantic import Field, model_validator

from pagoda_server.dialog.turn import AnswerFormat, ChoiceFormat, GrammarFormat, JsonFormat, RegexFormat
from pagoda_server.grammar.build import JsonOptions
from pagoda_server.http.errors import RequestError
from pagoda_server.http.fields import drop_idle, never
from pagoda_server.http.strict import Strict

JSON_SCHEMA_FIELDS = ("name", "description", "schema", "strict")
STRUCTURED_FIELDS = {"structural_tag": never}
Choices = Annotated[list[str], Field(min_length=1, max_length=10_000, fail_fast=True)]


class JsonSchema(Strict):
    name: Annotated[str, Field(min_length=1, max_length=256)]
    description: str | None = None
    strict: bool | None = None
    """The answer follows the schema either way."""
    content: Annotated[Any, Field(alias="schema")]

    @model_validator(mode="before")
    @classmethod
    def _drop_idle(cls, value: Any) -> Any:
        return drop_idle(value, dict.fromkeys(JSON_SCHEMA_FIELDS), {}) if isinstance(value, dict) else value


class ResponseFormat(Strict):
    type: Literal["text", "json_object", "json_schema"] = "text"
    json_schema: JsonSchema | None = None

    @model_validator(mode="after")
    def _check_schema(self) -> "ResponseFormat":
        if self.type == "json_schema" and self.json_schema is None:
            raise RequestError(
                "response_format.json_schema is missing; give it as {name, schema}, or another type",
                param="response_format.json_schema",
                code="missing_required_parameter",
            )
        return self


class StructuredOutputs(Strict):
    unbuilt = STRUCTURED_FIELDS
    json_: Annotated[Any, Field(alias="json")] = None
    regex: str | None = None
    choice: Choices | None = None
    grammar: str | None = None
    json_object: bool | None = None
    whitespace_pattern: str | None = None
    disable_any_whitespace: bool | None = None
    disable_additional_properties: bool | None = None
    disable_fallback: bool | None = None
    """There is nothing to fall back to."""

    @model_validator(mode="before")
    @classmethod
    def _drop_idle(cls, value: Any) -> Any:
        known = {field.alias or name: field for name, field in cls.model_fields.items()}
        return drop_idle(value, known, cls.unbuilt) if isinstance(value, dict) else value


@dataclass(frozen=True, slots=True)
class AnswerForm:
    param: str
    """The field that asks for it."""
    answer_format: AnswerFormat
    options: JsonOptions


class FormFields(Strict):
    """The fields that say which form the answer has."""

    response_format: ResponseFormat | None = None
    structured_outputs: StructuredOutputs | None = None
    guided_json: Any = None
    guided_regex: str | None = None
    guided_choice: Choices | None = None
    guided_grammar: str | None = None
    guided_json_object: bool | None = None
    guided_whitespace_pattern: str | None = None
    guided_decoding_backend: str | None = None
    """A hint: there is one, and it follows all of these forms."""

    @property
    def answer_form(self) -> AnswerForm | None:
        """Returns the form that is asked for, None for free text. Raises `RequestError` for more than one."""
        asked = {**self._find_response_format(), **self._find_structured(), **self._find_guided()}
        if len(asked) > 1:
            first, second, *_ = asked
            raise RequestError(f"{first} and {second} are given; give one of them", param=second, code="invalid_value")
        options = self._build_options()
        return next((AnswerForm(param, one, options) for param, one in asked.items()), None)

    def _find_response_format(self) -> dict[str, AnswerFormat]:
        match self.response_format:
            case ResponseFormat(type="json_object"):
                return {"response_format": JsonFormat()}
            case ResponseFormat(type="json_schema", json_schema=JsonSchema(content=content)):
                return _as_json("response_format.json_schema.schema", content)
        return {}

    def _find_structured(self) -> dict[str, AnswerFormat]:
        asked = self.structured_outputs
        if asked is None:
            return {}
        return _find_forms(
            "structured_outputs.",
            json=asked.json_,
            regex=asked.regex,
            choice=asked.choice,
            grammar=asked.grammar,
            json_object=asked.json_object,
        )

    def _find_guided(self) -> dict[str, AnswerFormat]:
        return _find_forms(
            "guided_",
            json=self.guided_json,
            regex=self.guided_regex,
            choice=self.guided_choice,
            grammar=self.guided_grammar,
            json_object=self.guided_json_object,
        )

    def _build_options(self) -> JsonOptions:
        structured = self.structured_outputs or StructuredOutputs()
        return JsonOptions(
            whitespace_pattern=structured.whitespace_pattern or self.guided_whitespace_pattern,
            is_compact=bool(structured.disable_any_whitespace),
            closes_objects=bool(structured.disable_additional_properties),
        )


def _find_forms(
    prefix: str,
    *,
    json: Any,
    regex: str | None,
    choice: list[str] | None,
    grammar: str | None,
    json_object: bool | None,
) -> dict[str, AnswerFormat]:
    found: dict[str, AnswerFormat] = {} if json is None else _as_json(f"{prefix}json", json)
    if regex is not None:
        found[f"{prefix}regex"] = RegexFormat(regex)
    if choice is not None:
        found[f"{prefix}choice"] = ChoiceFormat(tuple(choice))
    if grammar is not None:
        found[f"{prefix}grammar"] = GrammarFormat(grammar)
    if json_object:
        found[f"{prefix}json_object"] = JsonFormat()
    return found


def _as_json(param: str, schema: Any) -> dict[str, AnswerFormat]:
    """Takes a schema as JSON or as a text of it. Raises `RequestError`."""
    if isinstance(schema, str):
        try:
            schema = orjson.loads(schema)
        except orjson.JSONDecodeError as error:
            raise RequestError(f"{param} is not valid JSON: {error}", param=param, code="invalid_value") from error
    if not isinstance(schema, dict | bool):
        raise RequestError(f"{param} is not a JSON schema; give an object", param=param, code="invalid_value")
    return {param: JsonFormat(schema)}
