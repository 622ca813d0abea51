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
from pagoda_server.http.routes import CHAT, COMPLETIONS
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
    chunk: type[BaseModel] | None = None
    """What each event of a stream is, where it may stream."""
    refusals: tuple[int, ...] = ()

    def list_models(self) -> list[type[BaseModel]]:
        return [one for one in (self.body, self.answer, self.chunk) if one is not None]


GENERATION = (400, 401, 404, 413, 429, 503)
OPERATIONS = (
    Operation(
        "post",
        CHAT,
        "The next message of a conversation",
        answers.ChatCompletion,
        ChatRequest,
        answers.ChatCompletionChunk,
        GENERATION,
    ),
    Operation(
        "post",
        COMPLETIONS,
        "What follows a prompt",
        answers.Completion,
        CompletionRequest,
        answers.Completion,
        GENERATION,
    ),
    Operation("get", "/v1/models", "The model that is served", answers.ModelList, refusals=(401,)),
    Operation("get", "/v1/models/{model}", "The model of this name", answers.Model, refusals=(401, 404)),
    Operation("post", "/tokenize", "A prompt's tokens", answers.Tokens, TokenizeRequest, refusals=(400, 401, 404, 413)),
    Operation(
        "post", "/detokenize", "Tokens' text", answers.Detokenized, DetokenizeRequest, refusals=(400, 401, 404, 413)
    ),
    Operation("get", "/version", "This server's version", answers.Version, refusals=(401,)),
    Operation("get", "/ping", "Whether this server can answer", answers.Health, refusals=(503,)),
    Operation("post", "/ping", "Whether this server can answer", answers.Health, refusals=(503,)),
)


@cache
def build_document() -> bytes:
    """Returns the document's JSON. It takes some ten milliseconds, once."""
    models: set[type[BaseModel]] = {answers.ErrorAnswer}
    models.update(*(operation.list_models() for operation in OPERATIONS))
    ordered = sorted(models, key=lambda model: model.__name__)
    _, schemas = models_json_schema([(model, "validation") for model in ordered], ref_template=REF)
    paths: dict[str, Any] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _describe(operation)
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


def _describe(operation: Operation) -> dict[str, Any]:
    content = {JSON: {"schema": _refer(operation.answer)}}
    if operation.chunk is not None:
        content[SSE] = {"schema": {"type": "string", "description": f"Events of {operation.chunk.__name__}"}}
    said: dict[str, Any] = {"description": "The answer", "content": content}
    refused = {
        str(status): {
            "description": REFUSALS[status],
            "content": {JSON: {"schema": _refer(answers.Health if operation.path == "/ping" else answers.ErrorAnswer)}},
        }
        for status in operation.refusals
    }
    name = "".join(part for part in operation.path.title() if part.isalnum())
    described: dict[str, Any] = {
        "operationId": f"{operation.method}{name}",
        "summary": operation.text,
        "responses": {"200": said, **refused},
    }
    if operation.body is not None:
        described["requestBody"] = {"required": True, "content": {JSON: {"schema": _refer(operation.body)}}}
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


def _refer(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": REF.format(model=model.__name__)}
