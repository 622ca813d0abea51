"""The items of a conversation as JSON: those of a request, those of an answer, all of them together, and pages of them.

Items are kept as the bytes they came in; only their ids are looked at.
"""

import secrets
from collections.abc import Iterable, Sequence

import msgspec

from pagoda_guard.parsing import BadInput, parse_json

Fields = dict[str, msgspec.Raw]
"""An object whose values are not read."""


def read_fields(raw: bytes) -> Fields:
    """Returns an object's fields unread. Raises BadInput."""
    return parse_json(raw, Fields, limit_bytes=len(raw))


def read_text(raw: msgspec.Raw | None) -> str | None:
    """Returns the text that a field holds, None for anything else."""
    try:
        return None if raw is None else parse_json(bytes(raw), str, limit_bytes=4096)
    except BadInput:
        return None


def list_input(raw: msgspec.Raw) -> list[bytes]:
    """Returns the items of an input, which may be one text. Raises BadInput for what is neither.

    An item without an id gets one, by which it can be asked for.
    """
    whole = bytes(raw)
    if whole[:1] == b'"':
        content = [{"type": "input_text", "text": msgspec.Raw(whole)}]
        return [_with_id(msgspec.json.encode({"type": "message", "role": "user", "content": content}))]
    return [_with_id(bytes(item)) for item in parse_json(whole, list[msgspec.Raw], limit_bytes=len(whole))]


def _with_id(item: bytes) -> bytes:
    fields = read_fields(item)
    if read_text(fields.get("id")):
        return item
    return msgspec.json.encode({"id": f"item_{secrets.token_hex(12)}", **fields})


def list_output(response: bytes) -> list[bytes]:
    """Returns the items of an answer. Raises BadInput."""
    output = read_fields(response).get("output", msgspec.Raw(b"[]"))
    return [bytes(item) for item in parse_json(bytes(output), list[msgspec.Raw], limit_bytes=len(bytes(output)))]


def join(items: Iterable[bytes]) -> msgspec.Raw:
    return msgspec.Raw(b"[" + b",".join(items) + b"]")


def build_page(items: Sequence[bytes], *, limit: int, after: str | None, descends: bool) -> bytes:
    """Returns so many items behind the one whose id is `after`, as a list of OpenAI's API.

    Raises KeyError where there is no such item.
    """
    ordered = list(reversed(items)) if descends else list(items)
    ids = [read_text(read_fields(item).get("id")) or "" for item in ordered]
    if after is not None and after not in ids:
        raise KeyError(after)
    begin = 0 if after is None else ids.index(after) + 1
    named = ids[begin : begin + limit]
    return msgspec.json.encode(
        {
            "object": "list",
            "data": [msgspec.Raw(item) for item in ordered[begin : begin + limit]],
            "first_id": named[0] if named else None,
            "last_id": named[-1] if named else None,
            "has_more": begin + limit < len(ordered),
        }
    )
