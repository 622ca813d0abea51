"""The prompt of `pagoda run --chat`: a process of its own, so that reading a line may block and Ctrl-C is its own.

Ctrl-C stops an answer, throws away a typed line, and at an empty prompt ends; Ctrl-D ends.
"""

import asyncio
import contextlib
import os
import signal
import sys
import termios
from collections.abc import Callable, Iterator
from types import ModuleType

from pagoda_cli.local.chat import Answer, ChatError, Endpoint, Message, open_writer, stream_answer, without_control
from pagoda_cli.local.conversation import Conversation, find_command, obey
from pagoda_cli.local.screen import DIM, PLAIN, RED, has_colour
from pagoda_cli.local.status_line import StatusLine
from pagoda_guard.parent import bind_command

API_KEY_VARIABLE = "PAGODA_CHAT_API_KEY"
BOLD = "\x1b[1m"

ReadLine = Callable[[], str | None]


async def talk(endpoint: Endpoint) -> None:
    """Runs the prompt at this terminal until it ends; a Ctrl-C meanwhile is the prompt's to handle."""
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, lambda: None)
    command = (sys.executable, "-m", "pagoda_cli.local.prompt", endpoint.url, endpoint.model)
    key = {API_KEY_VARIABLE: endpoint.api_key} if endpoint.api_key else {}
    process = await asyncio.create_subprocess_exec(*bind_command(command), env=os.environ | key)
    try:
        await process.wait()
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
        raise


def converse(endpoint: Endpoint, read_line: ReadLine) -> None:
    """Converses until the end of input. A stopped answer stays in the conversation as far as it came."""
    conversation = Conversation()
    while (line := read_line()) is not None:
        question = line.strip()
        if (command := find_command(line)) is not None:
            changed, said = obey(conversation, *command)
            if changed is None:
                return
            conversation = changed
            _print_styled(DIM, said)
        elif question:
            answer = _show_answer(endpoint, conversation.ask(question))
            if answer.text:
                conversation = conversation.add(question, answer.text)


def _show_answer(endpoint: Endpoint, messages: list[Message]) -> Answer:
    """Streams one answer. NB: `asyncio.run` makes the first Ctrl-C a cancellation, then a KeyboardInterrupt."""
    answer, trouble = Answer(0.0), ""
    wrap = open_writer(sys.stdout)
    with StatusLine(sys.stdout) as line, _quiet_keys():

        def show(piece: str, so_far: Answer) -> None:
            nonlocal answer
            answer = so_far
            line.write(wrap(piece), f"{so_far.tokens_per_second:.1f} tokens/s  (Ctrl-C stops)")

        try:
            answer = asyncio.run(stream_answer(endpoint, messages, show))
        except KeyboardInterrupt:
            trouble = "stopped"
        except ChatError as error:
            trouble = str(error)
    if answer.text:
        print(flush=True)
        _print_styled(DIM, answer.summary)
    if trouble:
        _print_styled(RED, trouble)
    return answer


@contextlib.contextmanager
def _quiet_keys() -> Iterator[None]:
    """Keys typed into an answer do not show up in it; the next prompt has them."""
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    quiet = [*before[:3], before[3] & ~termios.ECHO, *before[4:]]
    termios.tcsetattr(sys.stdin, termios.TCSANOW, quiet)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSANOW, before)


def _print_styled(style: str, text: str) -> None:
    text = without_control(text)
    print(f"{style}{text}{PLAIN}" if has_colour(sys.stdout) else text, flush=True)


def open_terminal() -> ReadLine:
    """Lines with editing and history, where Python has readline and this is a terminal."""
    editor = _load_editor() if sys.stdin.isatty() else None
    is_bold = editor is not None and has_colour(sys.stdout)
    prompt = f"\x01{BOLD}\x02you>\x01{PLAIN}\x02 " if is_bold else "you> "

    def read_line() -> str | None:
        while True:
            try:
                return input(prompt)
            except EOFError:
                print(flush=True)
                return None
            except KeyboardInterrupt:
                print(flush=True)
                if editor is None or not editor.get_line_buffer():
                    return None

    return read_line


def _load_editor() -> ModuleType | None:
    try:
        import readline
    except ImportError:
        return None
    readline.parse_and_bind("set enable-bracketed-paste on")  # a pasted text of many lines is one message
    readline.parse_and_bind("tab: self-insert")
    return readline


def main() -> None:
    url, model = sys.argv[1:]
    _print_styled(DIM, f"Chatting with {model}. /help lists the commands, Ctrl-D ends.")
    with contextlib.suppress(KeyboardInterrupt):
        converse(Endpoint(url, model, os.environ.get(API_KEY_VARIABLE)), open_terminal())


if __name__ == "__main__":
    main()
