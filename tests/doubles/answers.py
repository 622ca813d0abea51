"""Answers, read whole or in pieces, and a tokenizer of bytes with the pieces that a test wants."""

from collections.abc import Iterable, Sequence

from llguidance import LLTokenizer, TokenizerWrapper

from pagoda_server.dialog.events import AnswerParser, Content, Event, Reasoning, join_events
from pagoda_server.dialog.turn import Tool

WEATHER = Tool(
    "get_weather",
    parameters={
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city"],
        "additionalProperties": False,
    },
)
TIME = Tool("get_time", parameters={"type": "object", "properties": {}, "additionalProperties": False})
TOOLS = (WEATHER, TIME)


def read_pieces(parser: AnswerParser, pieces: Iterable[str]) -> list[Event]:
    events = [event for piece in pieces for event in parser.push(piece)]
    return join_events([*events, *parser.finish()])


def join_text(events: Sequence[Event], kind: type[Content] | type[Reasoning]) -> str:
    return "".join(event.text for event in events if isinstance(event, kind))


class ByteTokenizer:
    """As llguidance wants one: 256 bytes, then pieces, then special tokens, the first of which ends an answer."""

    def __init__(self, pieces: Sequence[str] = (), special: Sequence[str] = ()) -> None:
        special = ["<eos>", *special]
        self.tokens = [*(bytes([byte]) for byte in range(256)), *(text.encode() for text in [*pieces, *special])]
        first = len(self.tokens) - len(special)
        self.special_ids = {text: first + at for at, text in enumerate(special)}
        self.special_token_ids = list(self.special_ids.values())
        self.eos_token_id = first
        self.bos_token_id = None

    def __call__(self, text: str | bytes) -> list[int]:
        return list(text.encode() if isinstance(text, str) else text)

    def build(self) -> LLTokenizer:
        return LLTokenizer(TokenizerWrapper(self), n_vocab=len(self.tokens), slices=[])
