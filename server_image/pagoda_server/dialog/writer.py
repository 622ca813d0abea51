"""What a parser says, as events: text, and calls that begin and go on.

Blanks next to a call or a tag are the notation's, not the answer's: models put line ends there.
"""

from collections.abc import Callable

from pagoda_server.dialog.events import CallArguments, CallBegun, Content, Event, Reasoning, join_events

MAX_BLANKS = 256
"""More in a row are text wherever they stand, so that no more than this is ever held back."""


class Prose:
    """One kind of text of an answer, content or reasoning, without the blanks at its borders.

    Blanks are held back until it is known whether they lie at a border. At the end of the answer none are lost.
    """

    def __init__(self, event: type[Content] | type[Reasoning], say: Callable[[Event], None]) -> None:
        self._event = event
        self._say = say
        self._held = ""
        self._is_after_border = False
        self._is_long = False
        """These blanks are too many for a border."""

    def write(self, text: str) -> None:
        text = self._held + text
        self._held = ""
        end = len(text.rstrip())
        if not end:
            self._write_blanks(text)
            return
        start = len(text) - len(text.lstrip()) if self._is_after_border else 0
        self._is_after_border = self._is_long = False
        blanks = text[end:]
        self._emit(text[start:end])
        self._write_blanks(blanks)

    def border(self) -> None:
        """A call or a tag stands here."""
        self._held = ""
        self._is_after_border = True
        self._is_long = False

    def end(self) -> None:
        """Nothing more comes."""
        self._emit(self._held)
        self._held = ""

    def _write_blanks(self, blanks: str) -> None:
        if self._is_after_border:
            return
        self._is_long = self._is_long or len(blanks) > MAX_BLANKS
        if self._is_long:
            self._emit(blanks)
        else:
            self._held = blanks

    def _emit(self, text: str) -> None:
        if text:
            self._say(self._event(text))


class Writer:
    """Collects the events of an answer, and numbers its calls."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self.content = Prose(Content, self._events.append)
        self.reasoning = Prose(Reasoning, self._events.append)
        self.num_calls = 0
        self._has_arguments = True

    def take(self) -> list[Event]:
        """Returns the events since the last time, pieces of the same text joined."""
        taken = join_events(self._events)
        self._events.clear()
        return taken

    def begin_call(self, name: str) -> None:
        self.content.border()
        self._events.append(CallBegun(self.num_calls, name))
        self.num_calls += 1
        self._has_arguments = False

    def write_arguments(self, text: str) -> None:
        if text:
            self._has_arguments = True
            self._events.append(CallArguments(self.num_calls - 1, text))

    def end_call(self) -> None:
        """The call is whole; one that said nothing of arguments has none."""
        if not self._has_arguments:
            self.write_arguments("{}")
        self.content.border()
