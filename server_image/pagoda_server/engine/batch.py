"""What a step is made of: the chunks that it computes, and the limits within which it is scheduled."""

from dataclasses import dataclass

from pagoda_server.engine.request import Request


@dataclass(frozen=True, slots=True)
class Limits:
    max_model_len: int
    max_num_seqs: int
    max_batched_tokens: int
    vocab_size: int
    eos_token_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Chunk:
    """`num_tokens` tokens of `request` from position `start`; `is_sampled` when they reach its last token."""

    request: Request
    start: int
    num_tokens: int
    is_sampled: bool

    @property
    def end(self) -> int:
        """Returns the position after the last token, which is that of the token chosen when the chunk is sampled."""
        return self.start + self.num_tokens

    @property
    def num_scored(self) -> int:
        """Returns how many tokens of the prompt follow one of this chunk's and have their log-probabilities asked for.

        They are those from position `start + 1` on.
        """
        if self.request.sampling.prompt_logprobs is None:
            return 0
        return max(0, min(self.end, self.request.num_prompt_tokens - 1) - self.start)
