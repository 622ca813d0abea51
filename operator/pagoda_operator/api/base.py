"""What every model of the resource shares: camelCase names, frozen values, unknown fields refused."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel

QUANTITY_PATTERN = r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$"
INT_OR_PERCENT_PATTERN = r"^(100|[0-9]{1,2})%$"


class ApiModel(BaseModel):
    """An object of the spec: extra fields are refused, never ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True)


class OpenModel(BaseModel):
    """An object that others write too (metadata, status): fields that we do not know are left out."""

    model_config = ConfigDict(extra="ignore", frozen=True, alias_generator=to_camel, populate_by_name=True)


def _number_as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


_INT_OR_STRING = {"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": True}

Quantity = Annotated[
    str,
    BeforeValidator(_number_as_text),
    Field(pattern=QUANTITY_PATTERN, max_length=32),
    WithJsonSchema({**_INT_OR_STRING, "pattern": QUANTITY_PATTERN, "maxLength": 32}),
]
"""A Kubernetes quantity; a bare number is allowed, as the API server allows it."""

Percent = Annotated[str, Field(pattern=INT_OR_PERCENT_PATTERN)]
IntOrPercent = Annotated[
    Annotated[int, Field(ge=0)] | Percent,
    WithJsonSchema({**_INT_OR_STRING, "pattern": INT_OR_PERCENT_PATTERN, "minimum": 0, "maxLength": 8}),
]

OpenObject = Annotated[dict[str, Any], WithJsonSchema({"type": "object", "x-kubernetes-preserve-unknown-fields": True})]
"""A Kubernetes object that goes through to the child as it is."""

DnsName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", min_length=1, max_length=253)]
StringMap = Annotated[dict[str, str], Field(max_length=64)]
