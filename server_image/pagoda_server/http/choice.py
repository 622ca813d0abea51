"""One answer being written: tokens in, safe text and its logprobs out. It knows no HTTP and no socket."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pagoda_server.dialog.events import Event
from pagoda_server.http.reading import AnswerReader
from pagoda_server.text.detokenize import Detokenizer, StopMatcher
from pagoda_server.text.tokenizer import Tokenizer
from pagoda_server.wire import Delta, FinishReason, TokenLogprobs


@dataclass(frozen=True, slots=True)
class ScoredToken:
    token_id: int
    text_offset: int
    logprobs: TokenLogprobs


@dataclass(frozen=True, slots=True)
class Piece:
    """What one delta added. `tokens` belong to text up to this piece's end."""

    index: int
    text: str
    tokens: list[ScoredToken] = field(default_factory=list)
    finish_reason: FinishReason | None = None
    events: list[Event] | None = None
    """What the text says, where an answer is read; the text is then as the model wrote it."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How answers are read that may hold more than plain text."""

    decode: Callable[[Sequence[int]], str]
    """Keeps the special tokens by which the model marks its reasoning and calls."""
    build_reader: Callable[[], AnswerReader]


class Choice:
    def __init__(
        self,
        *,
        index: int,
        tokenizer: Tokenizer,
        stops: tuple[str, ...],
        min_tokens: int,
        keeps_stop: bool = False,
        scored: bool = False,
        reading: Reading | None = None,
    ) -> None:
        self.index = index
        self.token_count = 0
        self.cached_tokens = 0
        self._plain = not stops and not scored and reading is None
        self._reader = None if reading is None else reading.build_reader()
        self._detokenizer = Detokenizer(tokenizer.decode if reading is None else reading.decode)
        self._matcher = StopMatcher(stops, keeps_stop=keeps_stop)
        self._min_tokens = min_tokens
        self._decoded_characters = 0
        self._sent_characters = 0
        self._scored: list[ScoredToken] = []
        self._events: list[Event] = []

    @property
    def reasoning_tokens(self) -> int:
        return 0 if self._reader is None else self._reader.reasoning_tokens

    def push(self, delta: Delta) -> Piece:
        self.cached_tokens = max(self.cached_tokens, delta.cached_tokens)
        return self._push_plain(delta) if self._plain else self._push_each(delta)

    def _push_plain(self, delta: Delta) -> Piece:
        """Takes all tokens at once, where nothing but their text is asked for."""
        reason, token_ids = delta.finish_reason, delta.token_ids
        self.token_count += len(token_ids)
        if reason is None:
            return Piece(self.index, self._detokenizer.push(token_ids))
        text = self._detokenizer.push(token_ids[:-1] if reason == "stop" else token_ids)
        return Piece(self.index, text + self._detokenizer.flush(), [], reason)

    def _push_each(self, delta: Delta) -> Piece:
        """Takes token by token, so that the answer does not depend on how the engine groups them."""
        text, stopped = "", False
        for at, token_id in enumerate(delta.token_ids):
            if delta.logprobs is not None:
                self._scored.append(ScoredToken(token_id, self._decoded_characters, delta.logprobs[at]))
            self.token_count += 1
            if delta.finish_reason == "stop" and at == len(delta.token_ids) - 1:
                break  # the stop token itself is no text
            safe, stopped = self._decode(token_id)
            text += safe
            stopped |= self._read(safe, tokens=1)
            if stopped:
                break
        if delta.finish_reason is not None and not stopped:
            rest, stopped = self._flush()
            text += rest
            self._read(rest, tokens=0)
        self._sent_characters += len(text)
        reason: FinishReason | None = "stop" if stopped else delta.finish_reason
        return Piece(self.index, text, self._take_scored(reason), reason, self._take_events(reason))

    def _read(self, text: str, *, tokens: int) -> bool:
        """Returns whether what the text says ends the answer."""
        if self._reader is None:
            return False
        self._events += self._reader.push(text, tokens)
        return self._reader.is_complete

    def _take_events(self, reason: FinishReason | None) -> list[Event] | None:
        if self._reader is None:
            return None
        rest = self._reader.finish() if reason is not None else []
        events, self._events = [*self._events, *rest], []
        return events

    def _decode(self, token_id: int) -> tuple[str, bool]:
        fresh = self._detokenizer.push([token_id])
        self._decoded_characters += len(fresh)
        if self.token_count <= self._min_tokens:
            return fresh, False
        return self._matcher.push(fresh)

    def _flush(self) -> tuple[str, bool]:
        text, stopped = self._matcher.push(self._detokenizer.flush())
        return (text, True) if stopped else (text + self._matcher.flush(), False)

    def _take_scored(self, reason: FinishReason | None) -> list[ScoredToken]:
        """Returns the tokens whose text was sent; those of a stop string or a stop token have none and are left out."""
        ready = [token for token in self._scored if token.text_offset < self._sent_characters]
        if reason == "length":
            ready = self._scored
        self._scored = self._scored[len(ready) :]
        return ready
