"""A guess at a request's sequences and tokens before any tokenizer saw it: enough to bound a queue, never to bill.

Any bytes give an estimate, by work bounded by their number. A body or a field that cannot be read counts as the
default; its error is the server's to tell.
"""

import re
from dataclasses import dataclass
from itertools import islice

import msgspec

from pagoda_gateway.paths import MESSAGES, RESPONSES
from pagoda_gateway.weight import Weight
from pagoda_guard.parsing import BadInput, parse_json

BYTES_PER_TOKEN = 4
DEFAULT_OUTPUT_TOKENS = 256
MAX_OUTPUT_TOKENS = 131_072
"""A client's wish is not trusted further than this: it would show as demand."""
MAX_PROMPTS = 1024
MAX_CHOICES = 1024
"""Beyond what a server takes in one request; the rest is not counted."""
NUMBER_LIMIT_BYTES = 64
ONE_ANSWER_PATHS = frozenset({RESPONSES, MESSAGES})
"""There a request is one prompt and one answer, whatever its fields are called."""

_LIST_OF = re.compile(rb'\s*\[\s*(["\[])')
_TEXT = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_ABSENT = msgspec.Raw(b"null")


class _Body(msgspec.Struct):
    """Each field is read by itself, so that one wrong field does not hide what the others ask for."""

    stream: msgspec.Raw = _ABSENT
    max_tokens: msgspec.Raw = _ABSENT
    max_completion_tokens: msgspec.Raw = _ABSENT
    max_output_tokens: msgspec.Raw = _ABSENT
    prompt: msgspec.Raw = _ABSENT
    n: msgspec.Raw = _ABSENT
    best_of: msgspec.Raw = _ABSENT


@dataclass(frozen=True, slots=True)
class Estimate:
    sequences: int
    tokens: int
    """The tokens of all sequences: each has its prompt and its answer."""
    stream: bool

    @property
    def weight(self) -> Weight:
        return Weight(self.sequences, self.tokens)


def estimate_request(path: str, body: bytes) -> Estimate:
    prompt_tokens = len(body) // BYTES_PER_TOKEN
    try:
        fields = parse_json(body, _Body, limit_bytes=len(body))
    except BadInput:
        return Estimate(sequences=1, tokens=prompt_tokens + DEFAULT_OUTPUT_TOKENS, stream=False)
    if path.endswith("/embeddings"):
        return Estimate(sequences=1, tokens=prompt_tokens, stream=False)
    choices = prompts = 1
    if path not in ONE_ANSWER_PATHS:
        choices = min(max(read_number(fields.n, 1), read_number(fields.best_of, 1), 1), MAX_CHOICES)
        prompts = count_prompts(bytes(fields.prompt))
    sequences = choices * prompts
    output_tokens = min(max(read_wish(path, fields), 0), MAX_OUTPUT_TOKENS)
    tokens = choices * prompt_tokens + sequences * output_tokens
    return Estimate(sequences=sequences, tokens=tokens, stream=bytes(fields.stream) == b"true")


def read_wish(path: str, fields: _Body) -> int:
    """Returns how long an answer the client allows."""
    if path == RESPONSES:
        return read_number(fields.max_output_tokens, DEFAULT_OUTPUT_TOKENS)
    return read_number(fields.max_completion_tokens, read_number(fields.max_tokens, DEFAULT_OUTPUT_TOKENS))


def read_number(raw: msgspec.Raw, default: int) -> int:
    """Returns a whole number, also when it is written as 2.0; anything else counts as the default."""
    try:
        return int(parse_json(bytes(raw), int | float, limit_bytes=NUMBER_LIMIT_BYTES))  # type: ignore[arg-type]
    except BadInput:
        return default


def count_prompts(prompt: bytes) -> int:
    """Returns 1, or the length of a list of texts or of lists of token ids. `prompt` is valid JSON."""
    kind = _LIST_OF.match(prompt)
    if kind is None:
        return 1
    if kind[1] == b"[":
        return min(prompt.count(b"[") - 1, MAX_PROMPTS)
    return sum(1 for _ in islice(_TEXT.finditer(prompt), MAX_PROMPTS))
