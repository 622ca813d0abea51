"""What every model of the resource shares: camelCase names, frozen values, unknown fields refused."""

from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel

QUANTITY_PATTERN = r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$"
INT_OR_PERCENT_PATTERN = r"^(100|[0-9]{1,2})%$"


class ApiModel(BaseModel):
    """An object of the spec: extra fields are refused, unless it is read with `extra="ignore"`."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True)

    def to_object(self) -> dict[str, Any]:
        """Returns it as a part of a Kubernetes object, without what is not set."""
        return self.model_dump(by_alias=True, exclude_none=True)


class OpenModel(BaseModel):
    """An object that others write too (metadata, status): fields that we do not know are left out."""

    model_config = ConfigDict(extra="ignore", frozen=True, alias_generator=to_camel, populate_by_name=True)


def _number_as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


_INT_OR_STRING = {"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": True}

Quantity = Annotated[
    str,
    BeforeValidator(_number_as_text),
    Field(pattern=QUANTITY_PATTERN, max_length=32),
    WithJsonSchema({**_INT_OR_STRING, "pattern": QUANTITY_PATTERN, "maxLength": 32}),
]
"""A Kubernetes quantity; a bare whole number is allowed, as the API server allows it."""

Percent = Annotated[str, Field(pattern=INT_OR_PERCENT_PATTERN)]
IntOrPercent = Annotated[
    Annotated[int, Field(ge=0)] | Percent,
    WithJsonSchema({**_INT_OR_STRING, "pattern": INT_OR_PERCENT_PATTERN, "minimum": 0, "maxLength": 8}),
]

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_HOST_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_NAME = r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)"
DNS_NAME_PATTERN = rf"^{_LABEL}([.]{_LABEL})*$"
HOST_PATTERN = rf"^({_HOST_LABEL}[.])*[a-z]([-a-z0-9]{{0,61}}[a-z0-9])?$"
LABEL_KEY_PATTERN = rf"^({_LABEL}([.]{_LABEL})*/)?{_NAME}$"
LABEL_VALUE_PATTERN = rf"^{_NAME}?$"
LABEL_KEY_LENGTH = 317
"""253 of the prefix, a slash, 63 of the name."""

DnsName = Annotated[str, Field(pattern=DNS_NAME_PATTERN, min_length=1, max_length=253)]
HostName = Annotated[str, Field(pattern=HOST_PATTERN, min_length=1, max_length=253)]
"""A host of an Ingress: no address, no wildcard, labels of at most 63 characters."""
LabelKey = Annotated[str, Field(pattern=LABEL_KEY_PATTERN, min_length=1, max_length=LABEL_KEY_LENGTH)]
LabelValue = Annotated[str, Field(pattern=LABEL_VALUE_PATTERN, max_length=63)]
Labels = Annotated[dict[LabelKey, LabelValue], Field(max_length=64)]
StringMap = Annotated[dict[str, str], Field(max_length=64)]
Annotations = Annotated[dict[LabelKey, Annotated[str, Field(max_length=4096)]], Field(max_length=32)]


class UniqueBy:
    """A list in which no two items have the same value of a field, which is the list's key for the API server."""

    def __init__(self, field: str) -> None:
        self._field = field

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return AfterValidator(self._check).__get_pydantic_core_schema__(source, handler)

    def __get_pydantic_json_schema__(self, schema: Any, handler: GetJsonSchemaHandler) -> Any:
        return {**handler(schema), "x-list-key": to_camel(self._field)}

    def _check(self, items: list[Any]) -> list[Any]:
        values = [getattr(item, self._field) for item in items]
        twice = next((value for value in values if values.count(value) > 1), None)
        if twice is not None:
            raise ValueError(f"{to_camel(self._field)} {twice} stands there twice: remove one")
        return items


class ShapeOf:
    """Checks a Kubernetes object that goes through to a child, and leaves it a dict as it was written.

    What it does not know is refused, or left out where the whole resource is read so (`context={"extra": "ignore"}`);
    nothing is converted where the whole resource is read so (`context={"strict": True}`).
    """

    def __init__(self, model: type[BaseModel]) -> None:
        self._model = model

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return AfterValidator(self._check).__get_pydantic_core_schema__(source, handler)

    def __get_pydantic_json_schema__(self, schema: Any, handler: GetJsonSchemaHandler) -> Any:
        return handler(self._model.__pydantic_core_schema__)

    def _check(self, value: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        context = info.context or {}
        found = self._model.model_validate(value, strict=context.get("strict"), extra=context.get("extra"))
        return found.model_dump(by_alias=True, exclude_unset=True)
