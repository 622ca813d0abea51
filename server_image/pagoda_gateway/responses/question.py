"""A request for a response, made whole: the conversation that it goes on with is put before what it asks."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from pagoda_gateway.errors import Refusal
from pagoda_gateway.responses.items import Fields, join, list_input, list_output, read_fields, read_text
from pagoda_gateway.responses.store import Kept
from pagoda_guard.parsing import BadInput

PREVIOUS = "previous_response_id"
NULL = msgspec.Raw(b"null")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a body says of the conversation."""

    fields: Fields
    previous: str | None = None
    items: tuple[bytes, ...] = ()
    is_kept: bool = False
    """The answer is wanted again."""


NOTHING = Asked({})


def read_asked(body: bytes) -> Asked:
    """Returns what the body says. Raises Refusal for an input that can be put behind no conversation.

    What else is wrong is the server's to say, so that nothing is kept of it.
    """
    try:
        fields = read_fields(body)
    except BadInput:
        return NOTHING
    previous = fields.get(PREVIOUS, NULL)
    if bytes(previous) == b"null":
        previous_id = None
    elif (previous_id := read_text(previous)) is None:
        return NOTHING
    try:
        items = list_input(fields.get("input", msgspec.Raw(b"[]")))
    except BadInput as error:
        if previous_id is None:
            return NOTHING
        message = "input is neither a text nor a list of items; give one of them"
        raise Refusal(400, "invalid_value", message, "invalid_request_error", param="input") from error
    is_kept = bytes(fields.get("store", NULL)) in (b"true", b"null")
    return Asked(fields, previous_id, tuple(items), is_kept)


def build_whole(asked: Asked, chain: Sequence[Kept]) -> bytes:
    """Returns the body with the whole conversation as its input, for a server that keeps nothing."""
    items = join([*list_conversation(chain), *asked.items])
    rest = {name: value for name, value in asked.fields.items() if name != PREVIOUS}
    return msgspec.json.encode({**rest, "input": items})


def list_conversation(chain: Sequence[Kept]) -> list[bytes]:
    """Returns what was asked and answered, in order."""
    return [item for kept in chain for item in (*kept.items, *list_output(kept.body))]
