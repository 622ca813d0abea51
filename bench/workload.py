"""The measured work, the same for every engine. W1 is nano-vllm's benchmark, seed and all."""

from dataclasses import dataclass
from random import Random

TEMPERATURE = 0.6


@dataclass(frozen=True, slots=True)
class Work:
    name: str
    prompts: list[list[int]]
    output_lengths: list[int]
    """Tokens that each prompt must be answered with, exactly: the end of sequence is ignored."""

    @property
    def num_prompt_tokens(self) -> int:
        return sum(map(len, self.prompts))

    @property
    def num_output_tokens(self) -> int:
        return sum(self.output_lengths)


def build_w1(divide: int = 1) -> Work:
    """256 prompts of 100 to 1,024 random ids, answers of 100 to 1,024: 142,827 tokens in, 133,966 out.

    `divide` shortens the answers, for engines too slow for all of it.
    """
    random = Random(0)
    prompts = [[random.randint(0, 10000) for _ in range(random.randint(100, 1024))] for _ in range(256)]
    lengths = [random.randint(100, 1024) // divide for _ in range(256)]
    return Work("W1" if divide == 1 else f"W1/{divide}", prompts, lengths)


def build_uniform(num_prompts: int, num_prompt_tokens: int, num_output_tokens: int, *, seed: int = 1) -> Work:
    random = Random(seed)
    prompts = [[random.randint(2, 10000) for _ in range(num_prompt_tokens)] for _ in range(num_prompts)]
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


def parse_decode_point(text: str) -> DecodePoint:
    """`32,1024`. Raises ValueError."""
    batch, _, context = text.partition(",")
    if not (batch.isdecimal() and context.isdecimal() and int(batch) >= 1 and int(context) >= 256):
        raise ValueError(
            f"decode point is {text!r}: give BATCH,CONTEXT with a context of at least 256, such as 32,1024"
        )
    return DecodePoint(int(batch), int(context))
