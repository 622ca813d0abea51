"""What was said at the prompt so far, and the commands that change it: a line that begins with `/`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from pagoda_cli.local.chat import Message
from pagoda_cli.text import suggest

COMMANDS: Mapping[str, str] = {
    "/help": "lists the commands",
    "/clear": "forgets the conversation",
    "/system TEXT": "sets what the model is told first; without a text nothing",
    "/exit": "ends",
}
NAMES = tuple(command.partition(" ")[0] for command in COMMANDS)
COMMAND = re.compile(r"/[A-Za-z]*")
KEYS = "Ctrl-C stops an answer; at an empty prompt it ends, as Ctrl-D does."


@dataclass(frozen=True, slots=True)
class Conversation:
    system: str = ""
    turns: tuple[Message, ...] = ()

    def ask(self, question: str) -> list[Message]:
        """Returns the messages of the next request."""
        first = [{"role": "system", "content": self.system}] if self.system else []
        return [*first, *self.turns, {"role": "user", "content": question}]

    def add(self, question: str, answer: str) -> "Conversation":
        turn = ({"role": "user", "content": question}, {"role": "assistant", "content": answer})
        return replace(self, turns=(*self.turns, *turn))


def find_command(line: str) -> tuple[str, str] | None:
    """Returns the command of a line and what follows it; None when the line is for the model.

    A blank before `/` makes it so.
    """
    word, _, rest = line.rstrip().partition(" ")
    return (word, rest.strip()) if COMMAND.fullmatch(word) else None


def obey(conversation: Conversation, word: str, rest: str) -> tuple[Conversation | None, str]:
    """Returns the conversation after a command, None at its end, and what to say."""
    if word == "/exit":
        return None, ""
    if word == "/clear":
        return replace(conversation, turns=()), "The conversation is forgotten."
    if word == "/system":
        said = "The model is told this first." if rest else "The model is told nothing first."
        return replace(conversation, system=rest), said
    if word == "/help":
        return conversation, describe_commands()
    near = suggest(word, NAMES)
    fix = f"did you mean {near}?" if near is not None else "/help lists them; a blank before / sends it to the model"
    return conversation, f"{word}: no such command: {fix}"


def describe_commands() -> str:
    width = max(map(len, COMMANDS))
    return "\n".join([*(f"{command:<{width}}  {meaning}" for command, meaning in COMMANDS.items()), KEYS])
