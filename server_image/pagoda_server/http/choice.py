"""One answer being written: tokens in, safe text and its logprobs out. It knows no HTTP and no socket."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from pagoda_server.dialog.events import Event
from pagoda_server.http.reading import AnswerReader
from pagoda_server.text.detokenize import Detokenizer, StopMatcher
from pagoda_server.text.tokenizer import Tokenizer
from pagoda_server.wire import Delta, FinishReason, TokenLogprobs


@dataclass(frozen=True, slots=True)
class ScoredToken:
    token_id: int
    text_offset: int
    logprobs: TokenLogprobs | None
    """None: of a prompt's first token, which nothing comes before."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What one delta added. `tokens` belong to text up to this piece's end."""

    index: int
    text: str
    tokens: list[ScoredToken] = field(default_factory=list)
    finish_reason: FinishReason | None = None
    token_ids: list[int] = field(default_factory=list)
    """All that it was made of, one that ended the answer too."""
    events: list[Event] | None = None
    """What the text says, where an answer is read; the text is then as the model wrote it."""

    @property
    def is_text_alone(self) -> bool:
        """Returns whether there is nothing to tell but text that is in the midst of an answer."""
        return self.finish_reason is None and self.events is None and not self.tokens


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
        shows_special: bool = False,
        begins_at: int | None = None,
        reading: Reading | None = None,
    ) -> None:
        """`begins_at` is the number of characters that stand in front of an answer with the prompt before it.

        Of such an answer all tokens have scores, one that ends it too: who asks for them counts on it.
        """
        self.index = index
        self.token_count = 0
        self.cached_tokens = 0
        self.logprob_sum = 0.0
        """Of the tokens that were counted, where their scores are told."""
        self._is_plain = not stops and not scored
        self._reader = None if reading is None else reading.build_reader()
        hiding = tokenizer.decode if reading is None else reading.decode
        decode = partial(tokenizer.decode, skip_special_tokens=False) if shows_special else hiding
        self._detokenizer = Detokenizer(decode)
        self._matcher = StopMatcher(stops, keeps_stop=keeps_stop)
        self._keeps_stop = keeps_stop
        self._min_tokens = min_tokens
        self._scores_all = begins_at is not None
        self._decoded_characters = self._sent_characters = begins_at or 0
        self._scored: list[ScoredToken] = []
        self._events: list[Event] = []

    @property
    def stop_string(self) -> str | None:
        """Returns the stop string that ended the answer."""
        return self._matcher.found

    @property
    def reasoning_tokens(self) -> int:
        return 0 if self._reader is None else self._reader.reasoning_tokens

    def push(self, delta: Delta) -> Piece:
        if delta.cached_tokens > self.cached_tokens:
            self.cached_tokens = delta.cached_tokens
        if not self._is_plain:
            return self._push_each(delta)
        return self._push_plain(delta) if self._reader is None else self._push_read(delta, self._reader)

    def _push_plain(self, delta: Delta) -> Piece:
        """Takes all tokens at once, where nothing but their text is asked for."""
        reason, token_ids = delta.finish_reason, delta.token_ids
        self.token_count += len(token_ids)
        if reason is None:
            return Piece(self.index, self._detokenizer.push(token_ids), token_ids=token_ids)
        text = self._detokenizer.push(token_ids[:-1] if self._hides_last(reason) else token_ids)
        return Piece(self.index, text + self._detokenizer.flush(), [], reason, token_ids)

    def _push_read(self, delta: Delta, reader: AnswerReader) -> Piece:
        """Takes token by token, where nothing is asked for but what they say."""
        reason, text, events = delta.finish_reason, "", []
        last = len(delta.token_ids) - 1 if self._hides_last(reason) else -1
        taken = 0
        for at, token_id in enumerate(delta.token_ids):
            taken = at + 1
            fresh = self._detokenizer.push([token_id]) if at != last else ""
            text += fresh
            events += reader.push(fresh, 1)
            if reader.is_complete:
                reason = "stop"
                break
        self.token_count += taken
        if reason is not None:
            rest = self._detokenizer.flush()
            events += [*reader.push(rest, 0), *reader.finish()]
            text += rest
        return Piece(self.index, text, [], reason, delta.token_ids[:taken], events)

    def _push_each(self, delta: Delta) -> Piece:
        """Takes token by token, so that the answer does not depend on how the engine groups them."""
        text, stopped, taken = "", False, 0
        for at, token_id in enumerate(delta.token_ids):
            taken = at + 1
            if delta.logprobs is not None:
                self.logprob_sum += delta.logprobs[at].chosen
                self._scored.append(ScoredToken(token_id, self._decoded_characters, delta.logprobs[at]))
            self.token_count += 1
            if self._hides_last(delta.finish_reason) and taken == len(delta.token_ids):
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
        scored, events = self._take_scored(reason), self._take_events(reason)
        return Piece(self.index, text, scored, reason, delta.token_ids[:taken], events)

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

    def _hides_last(self, reason: FinishReason | None) -> bool:
        """Returns whether the last token is one that ends the answer and stands for no text of it."""
        return reason == "stop" and not self._keeps_stop

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
        if reason == "length" or (reason is not None and self._scores_all):
            ready = self._scored
        self._scored = self._scored[len(ready) :]
        return ready
