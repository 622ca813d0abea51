"""`GET /openapi.json`: what this API takes and answers, written from the models that requests are read with."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import Any

import orjson
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from pagoda_server.http import answer_schemas as answers
from pagoda_server.http.anthropic.schemas import CountRequest, MessageRequest
from pagoda_server.http.responses.schemas import ResponseRequest
from pagoda_server.http.routes import CHAT, COMPLETIONS, COUNT_TOKENS, INPUT_TOKENS, MESSAGES, RESPONSES
from pagoda_server.http.schemas import ChatRequest, CompletionRequest
from pagoda_server.http.tokenizing import DetokenizeRequest, TokenizeRequest

REF = "#/components/schemas/{model}"
REFUSALS: Mapping[int, str] = {
    400: "Refused; the message names the field, the value and the fix",
    401: "No key, or an unknown one",
    404: "No such model or path",
    413: "The body is too large",
    429: "Too many requests wait; try again after `Retry-After`",
    503: "Not ready, or it waited too long; try again after `Retry-After`",
}
BOUNDS = {"ge": "minimum", "le": "maximum", "gt": "exclusiveMinimum", "lt": "exclusiveMaximum"}
JSON, SSE = "application/json", "text/event-stream"


@dataclass(frozen=True, slots=True)
class Operation:
    method: str
    path: str
    text: str
    answer: type[BaseModel]
    body: type[BaseModel] | None = None
    event: type[BaseModel] | None = None
    """What each event of a stream is, where it may stream."""
    refusals: tuple[int, ...] = ()
    error: type[BaseModel] = answers.ErrorAnswer

    def list_models(self) -> list[type[BaseModel]]:
        return [one for one in (self.body, self.answer, self.event, self.error) if one is not None]


def _generate(
    path: str,
    text: str,
    answer: type[BaseModel],
    body: type[BaseModel],
    event: type[BaseModel],
    error: type[BaseModel] = answers.ErrorAnswer,
) -> Operation:
    return Operation("post", path, text, answer, body, event, (400, 401, 404, 413, 429, 503), error)


def _look(
    path: str, text: str, answer: type[BaseModel], body: type[BaseModel], error: type[BaseModel] = answers.ErrorAnswer
) -> Operation:
    return Operation("post", path, text, answer, body, None, (400, 401, 404, 413), error)


HEALTH = "Whether this server can answer"
OPERATIONS = (
    _generate(
        CHAT, "The next message of a conversation", answers.ChatCompletion, ChatRequest, answers.ChatCompletionChunk
    ),
    _generate(COMPLETIONS, "What follows a prompt", answers.Completion, CompletionRequest, answers.Completion),
    _generate(RESPONSES, "The next items of a conversation", answers.Response, ResponseRequest, answers.ResponseEvent),
    _look(INPUT_TOKENS, "How many tokens a response reads", answers.ResponseTokens, ResponseRequest),
    _generate(
        MESSAGES,
        "The next message, as Anthropic's API has it",
        answers.Message,
        MessageRequest,
        answers.MessageEvent,
        answers.MessageError,
    ),
    _look(COUNT_TOKENS, "How many tokens a message reads", answers.InputTokens, CountRequest, answers.MessageError),
    Operation("get", "/v1/models", "The model that is served", answers.ModelList, refusals=(401,)),
    Operation("get", "/v1/models/{model}", "The model of this name", answers.Model, refusals=(401, 404)),
    _look("/tokenize", "A prompt's tokens", answers.Tokens, TokenizeRequest),
    _look("/detokenize", "Tokens' text", answers.Detokenized, DetokenizeRequest),
    Operation("get", "/version", "This server's version", answers.Version, refusals=(401,)),
    Operation("get", "/ping", HEALTH, answers.Health, refusals=(503,), error=answers.Health),
    Operation("post", "/ping", HEALTH, answers.Health, refusals=(503,), error=answers.Health),
)


@cache
def build_document() -> bytes:
    """Returns the document's JSON. It takes some ten milliseconds, once."""
    models: set[type[BaseModel]] = set()
    models.update(*(operation.list_models() for operation in OPERATIONS))
    ordered = sorted(models, key=lambda model: model.__name__)
    found, schemas = models_json_schema([(model, "validation") for model in ordered], ref_template=REF)
    references = {model: reference for (model, _), reference in found.items()}
    paths: dict[str, Any] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _describe(operation, references)
    return orjson.dumps(
        {
            "openapi": "3.1.0",
            "info": {"title": "Pagoda", "version": version("pagoda")},
            "paths": paths,
            "components": {
                "schemas": _name_bounds(schemas["$defs"]),
                "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            },
            "security": [{"key": []}, {}],
        }
    )


def _describe(operation: Operation, references: Mapping[Any, Any]) -> dict[str, Any]:
    content: dict[str, Any] = {JSON: {"schema": references[operation.answer]}}
    if operation.event is not None:
        # NB: OpenAPI 3.1 has no word for the events of a stream; each is JSON of this schema behind `data: `.
        content[SSE] = {"schema": {"type": "string", "x-event": references[operation.event]}}
    refused = {
        str(status): {"description": REFUSALS[status], "content": {JSON: {"schema": references[operation.error]}}}
        for status in operation.refusals
    }
    name = "".join(part for part in operation.path.title() if part.isalnum())
    described: dict[str, Any] = {
        "operationId": f"{operation.method}{name}",
        "summary": operation.text,
        "responses": {"200": {"description": "The answer", "content": content}, **refused},
    }
    if operation.body is not None:
        described["requestBody"] = {"required": True, "content": {JSON: {"schema": references[operation.body]}}}
    if "{model}" in operation.path:
        described["parameters"] = [{"name": "model", "in": "path", "required": True, "schema": {"type": "string"}}]
    return described


def _name_bounds(schema: Any) -> Any:
    """Returns the schema with JSON Schema's names for bounds. NB: pydantic keeps its own behind a validator."""
    if isinstance(schema, list):
        return [_name_bounds(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    is_number = schema.get("type") in ("integer", "number")
    return {(BOUNDS.get(name, name) if is_number else name): _name_bounds(value) for name, value in schema.items()}
