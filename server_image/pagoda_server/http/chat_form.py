"""How a chat's prompt ends: where an answer begins, or open at the end of the last message, with which it goes on."""

from collections.abc import Sequence
from dataclasses import dataclass

from pagoda_server.http.errors import RequestError
from pagoda_server.http.messages import Message


@dataclass(frozen=True, slots=True)
class ChatForm:
    add_generation_prompt: bool = True
    continues_last: bool = False
    add_special_tokens: bool = False


def find_form(
    messages: Sequence[Message],
    *,
    add_generation_prompt: bool | None,
    continue_final_message: bool | None,
    add_special_tokens: bool | None,
) -> ChatForm:
    """Returns the form that the fields ask for. Raises `RequestError` where they contradict each other."""
    for at, message in enumerate(messages):
        if message.is_prefix and (at < len(messages) - 1 or message.role != "assistant"):
            raise RequestError(
                f"messages.{at} is marked as a prefix; only the last message, an assistant's, can be one",
                param=f"messages.{at}.prefix",
                code="invalid_value",
            )
    continues = bool(continue_final_message) or messages[-1].is_prefix
    if continues and add_generation_prompt:
        raise RequestError(
            "add_generation_prompt is true and the answer goes on with the last message; give one of both",
            param="add_generation_prompt",
            code="invalid_value",
        )
    return ChatForm(
        add_generation_prompt=add_generation_prompt is not False and not continues,
        continues_last=continues,
        add_special_tokens=bool(add_special_tokens),
    )
