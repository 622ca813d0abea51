"""The arguments of a tool call in the history, for every template.

OpenAI's API has them as a text; most templates want the object, and some join the text to their own. Which of them a
template does nobody can see from outside, so it gets an object that is its text wherever a text is wanted.
"""

import json
from typing import Any

BROKEN = "INVALID_JSON"
"""The member that holds a text which is no JSON object: a model's fault stays in the history, so that it can learn."""


class Arguments(dict[str, Any]):
    """An object, and its JSON as it was written: the model wrote it so, and the prefix cache knows it so."""

    def __init__(self, members: dict[str, Any], text: str) -> None:
        super().__init__(members)
        self.text = text

    def __str__(self) -> str:
        return self.text

    def __add__(self, other: object) -> str:
        return self.text + other if isinstance(other, str) else NotImplemented

    def __radd__(self, other: object) -> str:
        return other + self.text if isinstance(other, str) else NotImplemented


def build_arguments(members: dict[str, Any]) -> Arguments:
    return Arguments(members, json.dumps(members, ensure_ascii=False))
