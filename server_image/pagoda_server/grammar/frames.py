"""What the engine and the process that tries grammars say to each other: frames as on the wire, over a pipe."""

import os

import msgspec

from pagoda_server.grammar.vocabulary import VocabularySource
from pagoda_server.wire import Grammar, frame

LENGTH_BYTES = 4


class Trial(msgspec.Struct, frozen=True):
    """Asks for one grammar to be tried."""

    number: int
    grammar: Grammar


class Verdict(msgspec.Struct, frozen=True):
    """What trying it found. `number` is -1 when the vocabulary was built, or could not be: `problem` says so."""

    number: int
    text: str = ""
    """The grammar in the compiler's own notation."""
    problem: str | None = None
    """What is wrong with it and how to mend that."""
    place: str = ""
    """The JSON pointer of the schema that is at fault."""
    is_undecided: bool = False
    """This machine was too busy to find out."""
    memory_bytes: int = 0
    """What it takes once compiled, about."""


_encoder = msgspec.msgpack.Encoder()
decode_trial: "msgspec.msgpack.Decoder[Trial]" = msgspec.msgpack.Decoder(Trial)
decode_source: "msgspec.msgpack.Decoder[VocabularySource]" = msgspec.msgpack.Decoder(VocabularySource)
decode_verdict: "msgspec.msgpack.Decoder[Verdict]" = msgspec.msgpack.Decoder(Verdict)


def send(descriptor: int, message: Trial | Verdict) -> None:
    """Writes the whole message. Raises OSError."""
    left = memoryview(frame(_encoder.encode(message)))
    while left:
        left = left[os.write(descriptor, left) :]


def receive(descriptor: int) -> bytes | None:
    """Returns the next message's body, None at the end. Raises OSError."""
    head = _read(descriptor, LENGTH_BYTES)
    return None if head is None else _read(descriptor, int.from_bytes(head, "big"))


def _read(descriptor: int, size: int) -> bytes | None:
    parts: list[bytes] = []
    while size:
        part = os.read(descriptor, min(size, 1 << 20))
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
