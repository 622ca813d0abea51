"""Schemas and other forms of answers of the kinds that clients ask for, small and large."""

from collections.abc import Mapping
from typing import Any

from pagoda_server.dialog.turn import AnswerFormat, ChoiceFormat, GrammarFormat, JsonFormat, RegexFormat

TEXT: Any = {"type": "string"}
INTEGER: Any = {"type": "integer"}


def closed(properties: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
        **more,
    }


ADDRESS = closed({"street": TEXT, "city": TEXT, "zip": {"type": "string", "pattern": "^[0-9]{5}$"}})
PERSON = closed({"name": TEXT, "age": INTEGER, "tags": {"type": "array", "items": TEXT}, "address": ADDRESS})
FORMATS = ("date-time", "email", "uri", "uuid", "ipv6")
TREE = closed({"name": TEXT, "children": {"type": "array", "items": {"$ref": "#/$defs/tree"}}})
ARITHMETIC = """
start: sum
sum: product (("+" | "-") product)*
product: atom (("*" | "/") atom)*
atom: NUMBER | "(" sum ")"
NUMBER: /[0-9]+(\\.[0-9]+)?/
"""
KINDS: Mapping[str, AnswerFormat] = {
    "any object": JsonFormat(),
    "person": JsonFormat(PERSON),
    "list of persons": JsonFormat({"type": "array", "items": PERSON}),
    "150 optional properties": JsonFormat(
        {"type": "object", "properties": {f"property_{number}": {"type": ["string", "null"]} for number in range(150)}}
    ),
    "400 required properties": JsonFormat(closed({f"property_{number}": TEXT for number in range(400)})),
    "formats": JsonFormat(closed({name: {"type": "string", "format": name} for name in FORMATS})),
    "1000 values": JsonFormat(closed({"value": {"enum": [f"value {number * 7919}" for number in range(1000)]}})),
    "union of 50 objects": JsonFormat(
        {"anyOf": [closed({"kind": {"const": f"kind {number}"}, "value": TEXT}) for number in range(50)]}
    ),
    "tree": JsonFormat({"$ref": "#/$defs/tree", "$defs": {"tree": TREE}}),
    "regular expression": RegexFormat(r"[a-z]{3,20}@[a-z]{2,20}\.(com|org)"),
    "choice of 10": ChoiceFormat([f"label {number}" for number in range(10)]),
    "arithmetic": GrammarFormat(ARITHMETIC),
}
