"""The commands of the prompt, and what goes to the model."""

import pytest

from pagoda_cli.local.conversation import COMMANDS, Conversation, find_command, obey

TALKED = Conversation().add("hi", "hello")


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("/clear", ("/clear", "")),
        ("/clear  ", ("/clear", "")),
        ("/system Be short. ", ("/system", "Be short.")),
        ("/", ("/", "")),
        (" /clear", None),
        ("/etc/hosts is what?", None),
        ("clear", None),
        ("", None),
    ],
)
def test_a_line_that_begins_with_a_slash_and_a_word_is_a_command(line: str, command: tuple[str, str] | None) -> None:
    assert find_command(line) == command


def test_help_lists_every_command() -> None:
    same, said = obey(TALKED, "/help", "")
    assert same == TALKED and all(command in said for command in COMMANDS)


def test_clear_forgets_the_turns_and_keeps_what_is_told_first() -> None:
    told, _ = obey(TALKED, "/system", "Be short.")
    assert told is not None
    cleared, _ = obey(told, "/clear", "")
    assert cleared is not None
    assert [message["content"] for message in cleared.ask("you?")] == ["Be short.", "you?"]


def test_system_comes_first_and_may_be_taken_away() -> None:
    told, _ = obey(TALKED, "/system", "Be short.")
    assert told is not None
    assert [message["role"] for message in told.ask("x")] == ["system", "user", "assistant", "user"]
    untold, _ = obey(told, "/system", "")
    assert untold == TALKED


def test_exit_ends() -> None:
    assert obey(TALKED, "/exit", "")[0] is None


@pytest.mark.parametrize(
    ("word", "said"),
    [("/claer", "/claer: no such command: did you mean /clear?"), ("/xyz", "/xyz: no such command: /help lists them")],
)
def test_an_unknown_command_is_said_and_not_sent(word: str, said: str) -> None:
    same, answer = obey(TALKED, word, "")
    assert same == TALKED and answer.startswith(said)
