"""A guess at a request's tokens before any tokenizer saw it: enough to bound a queue, never to bill or truncate.

A body that cannot be read falls back to the default; its error is the server's to tell.
"""

from dataclasses import dataclass

import msgspec

BYTES_PER_TOKEN = 4
DEFAULT_OUTPUT_TOKENS = 256
MOST_OUTPUT_TOKENS = 131_072
"""A client's wish is not trusted further than this: it would show as demand."""


class _Body(msgspec.Struct):
    stream: bool | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Estimate:
    tokens: int
    stream: bool


def estimate_request(path: str, body: bytes) -> Estimate:
    prompt_tokens = len(body) // BYTES_PER_TOKEN
    try:
        fields = msgspec.json.decode(body, type=_Body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Estimate(tokens=prompt_tokens + DEFAULT_OUTPUT_TOKENS, stream=False)
    if path.endswith("/embeddings"):
        return Estimate(tokens=prompt_tokens, stream=False)
    wish = fields.max_completion_tokens if fields.max_completion_tokens is not None else fields.max_tokens
    output_tokens = DEFAULT_OUTPUT_TOKENS if wish is None else min(max(wish, 0), MOST_OUTPUT_TOKENS)
    return Estimate(tokens=prompt_tokens + output_tokens, stream=bool(fields.stream))
