"""The measured work, the same for every engine. W1 is nano-vllm's benchmark, seed and all."""

import re
from dataclasses import dataclass
from random import Random

TEMPERATURE = 0.6
CLOSED_TOKENS_IN, CLOSED_TOKENS_OUT = 512, 256
"""Each request's, in a closed loop, over HTTP or not."""
OUTPUT_RATE, INPUT_RATE = "output tokens/s", "input tokens/s"
RATES = (OUTPUT_RATE, INPUT_RATE)
"""Units of which more is better; of all others less is."""


@dataclass(frozen=True, slots=True)
class Work:
    name: str
    prompts: list[list[int]]
    output_lengths: list[int]
    """Tokens that each prompt must be answered with, exactly: the end of sequence is ignored."""
    unit: str = OUTPUT_RATE
    """The unit of its rate: which tokens are counted over the whole time."""

    @property
    def num_prompt_tokens(self) -> int:
        return sum(map(len, self.prompts))

    @property
    def num_output_tokens(self) -> int:
        return sum(self.output_lengths)

    @property
    def num_rated_tokens(self) -> int:
        return self.num_prompt_tokens if self.unit == INPUT_RATE else self.num_output_tokens


def build_w1(divide: int = 1) -> Work:
    """Returns 256 prompts of 100 to 1,024 random ids, answers of 100 to 1,024: 142,827 tokens in, 133,966 out.

    `divide` shortens the answers, for engines that are too slow for all of it.
    """
    random = Random(0)
    prompts = [[random.randint(0, 10000) for _ in range(random.randint(100, 1024))] for _ in range(256)]
    lengths = [random.randint(100, 1024) // divide for _ in range(256)]
    return Work("W1" if divide == 1 else f"W1/{divide}", prompts, lengths)


LARGEST_TOKEN_ID = 10_000


def build_uniform(
    num_prompts: int,
    num_prompt_tokens: int,
    num_output_tokens: int,
    *,
    seed: int = 1,
    largest_token_id: int = LARGEST_TOKEN_ID,
) -> Work:
    random = Random(seed)
    prompts = [[random.randint(2, largest_token_id) for _ in range(num_prompt_tokens)] for _ in range(num_prompts)]
    name = f"{num_prompts} x {num_prompt_tokens} in, {num_output_tokens} out"
    return Work(name, prompts, [num_output_tokens] * num_prompts)


@dataclass(frozen=True, slots=True)
class DecodePoint:
    """The rate of pure decode: `batch` sequences of about `context` tokens, no prompt in the step."""

    batch: int
    context: int

    @property
    def name(self) -> str:
        return f"decode B={self.batch} ctx={self.context}"


def parse_decode_name(name: str) -> DecodePoint | None:
    """Returns the point of this name; None for other work."""
    found = re.fullmatch(r"decode B=(\d+) ctx=(\d+)", name)
    return DecodePoint(int(found[1]), int(found[2])) if found else None


def parse_decode_point(text: str) -> DecodePoint:
    """Parses the likes of `32,1024`. Raises ValueError."""
    batch, context = parse_pair(text)
    if batch < 1 or context < 256:
        raise ValueError(
            f"decode point is {text!r}: give BATCH,CONTEXT with a context of at least 256, such as 32,1024"
        )
    return DecodePoint(batch, context)


@dataclass(frozen=True, slots=True)
class PrefillPoint:
    """The rate of pure prefill: `batch` sequences of `length` tokens, of which the last one is the answer."""

    batch: int
    length: int

    @property
    def name(self) -> str:
        return f"prefill {self.batch}x{self.length}"


def parse_prefill_name(name: str) -> PrefillPoint | None:
    """Returns the point of this name; None for other work."""
    found = re.fullmatch(r"prefill (\d+)x(\d+)", name)
    return PrefillPoint(int(found[1]), int(found[2])) if found else None


def parse_prefill_point(text: str) -> PrefillPoint:
    """Parses the likes of `32,8192`. Raises ValueError."""
    batch, length = parse_pair(text)
    if batch < 1 or length < 2:
        raise ValueError(f"prefill point is {text!r}: give BATCH,LENGTH with a length of at least 2, such as 32,8192")
    return PrefillPoint(batch, length)


def build_prefill(point: PrefillPoint) -> Work:
    work = build_uniform(point.batch, point.length - 1, 1)
    return Work(point.name, work.prompts, work.output_lengths, INPUT_RATE)


@dataclass(frozen=True, slots=True)
class Width:
    """A closed loop: as many requests under way at any time as there are streams, until all are answered."""

    streams: int
    requests: int


def parse_width(text: str) -> Width:
    """Parses the likes of `32x128`. Raises ValueError."""
    streams, _, requests = text.partition("x")
    if not (streams.isdecimal() and requests.isdecimal() and 1 <= int(streams) <= int(requests)):
        raise ValueError(f"load is {text!r}: give STREAMSxREQUESTS, such as 32x128")
    return Width(int(streams), int(requests))


def build_closed_loop(width: Width) -> Work:
    work = build_uniform(width.requests, CLOSED_TOKENS_IN, CLOSED_TOKENS_OUT)
    return Work(f"offline streams={width.streams}", work.prompts, work.output_lengths)


def parse_pair(text: str) -> tuple[int, int]:
    """Returns (0, 0), which no point allows, for what is not a pair of numbers."""
    first, _, second = text.partition(",")
    return (int(first), int(second)) if first.isdecimal() and second.isdecimal() else (0, 0)
