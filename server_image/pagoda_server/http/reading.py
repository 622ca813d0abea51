"""One answer being read: text in, what it says out. It knows no notation, no HTTP and no shape of an API."""

from collections.abc import Iterable, Sequence

from pagoda_server.dialog.events import AnswerParser, CallBegun, Event, Reasoning


class AnswerReader:
    def __init__(self, parser: AnswerParser, *, one_call: bool = False) -> None:
        """`one_call`: the answer ends where a second call begins."""
        self._parser = parser
        self._one_call = one_call
        self._undecided_tokens = 0
        self._is_reasoning = False
        self.reasoning_tokens = 0
        self.is_complete = False
        """Nothing that comes after this is wanted."""

    def push(self, text: str, tokens: int) -> list[Event]:
        """Takes the text of so many tokens more; returns what it says that is certain by now."""
        self._undecided_tokens += tokens
        events = self._keep(self._parser.push(text)) if text else []
        self._count(events)
        return events

    def finish(self) -> list[Event]:
        """Returns what is left when no more text comes."""
        if self.is_complete:
            return []
        events = self._keep(self._parser.finish())
        self._count(events)
        self.reasoning_tokens += self._undecided_tokens if self._is_reasoning else 0
        return events

    def _keep(self, events: Iterable[Event]) -> list[Event]:
        kept: list[Event] = []
        for event in events:
            self.is_complete |= self._one_call and isinstance(event, CallBegun) and event.index > 0
            if self.is_complete:
                break
            kept.append(event)
        return kept

    def _count(self, events: Sequence[Event]) -> None:
        """Counts tokens for what came of them: those that said nothing belong to what follows, the last to what was."""
        if events:
            self.reasoning_tokens += self._undecided_tokens if isinstance(events[0], Reasoning) else 0
            self._undecided_tokens = 0
            self._is_reasoning = isinstance(events[-1], Reasoning)
