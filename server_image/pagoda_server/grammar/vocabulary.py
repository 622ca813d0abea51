"""The model's tokens as grammars need them: the bytes of each, and which end an answer."""

from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
from llguidance import LLTokenizer
from numpy.typing import NDArray

from pagoda_server.text.files import read_files

BITS = 32


class NoVocabulary(Exception):
    """Grammars cannot be had with this model, and why."""


class VocabularySource(msgspec.Struct, frozen=True):
    """What a vocabulary is built from, in whatever process."""

    tokenizer_json: str
    """As the tokenizers library writes it."""
    vocab_size: Annotated[int, msgspec.Meta(ge=1)]
    """The width of the model's logits."""
    stop_token_ids: tuple[int, ...]


class Vocabulary:
    def __init__(self, tokens: LLTokenizer, source: VocabularySource, num_tokens: int) -> None:
        """`num_tokens`: those that the tokenizer knows; what the logits have beyond is never allowed."""
        self.tokens = tokens
        self.stop_token_ids = frozenset(source.stop_token_ids)
        self.num_words = -(-source.vocab_size // BITS)
        """Of a row of masks."""
        self.num_compiled_words = -(-tokens.vocab_size // BITS)
        """Of a row as the compiler writes it: more where the tokenizer knows tokens beyond the logits."""
        self.known = _build_row(range(min(num_tokens, source.vocab_size)), self.num_words)
        self.stops = _build_row(source.stop_token_ids, self.num_words)


def read_source(folder: Path, vocab_size: int, stop_token_ids: tuple[int, ...]) -> VocabularySource:
    """Reads the model's folder. Raises `NoVocabulary`."""
    stops = tuple(sorted(one for one in set(stop_token_ids) if one < vocab_size))
    if not stops:
        raise NoVocabulary("the model's configuration names no token that ends an answer (eos_token_id)")
    try:
        return VocabularySource(read_files(folder).raw.to_str(), vocab_size, stops)
    except ValueError as error:
        raise NoVocabulary(str(error)) from error


def build_vocabulary(source: VocabularySource) -> Vocabulary:
    """Builds it, half a second for 150,000 tokens in which no other Python runs. Raises `NoVocabulary`."""
    num_tokens = _count_tokens(source)
    try:
        tokens = LLTokenizer(
            source.tokenizer_json,
            n_vocab=max(source.vocab_size, num_tokens),
            eos_token=list(source.stop_token_ids),
        )
    except BaseException as error:  # NB: a panic of the library's core is no Exception
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        raise NoVocabulary(f"the tokenizer's kind is not known to the grammar compiler: {error}") from error
    return Vocabulary(tokens, source, num_tokens)


class _Added(msgspec.Struct):
    id: int


class _Model(msgspec.Struct):
    vocab: dict[str, int] | list[tuple[str, float]] = {}


class _Tokenizer(msgspec.Struct):
    model: _Model
    added_tokens: list[_Added] = []


def _count_tokens(source: VocabularySource) -> int:
    """Returns one more than the largest token id of the tokenizer. Raises `NoVocabulary`."""
    try:
        found = msgspec.json.decode(source.tokenizer_json, type=_Tokenizer)
    except msgspec.MsgspecError as error:
        raise NoVocabulary(
            f"tokenizer.json has no vocabulary that is known to the grammar compiler: {error}"
        ) from error
    vocab = found.model.vocab
    last = max(vocab.values(), default=-1) if isinstance(vocab, dict) else len(vocab) - 1
    return 1 + max(last, max((added.id for added in found.added_tokens), default=-1))


def _build_row(token_ids: "range | tuple[int, ...]", num_words: int) -> NDArray[np.int32]:
    """Returns the mask that allows these tokens."""
    bits = np.zeros(num_words * BITS, dtype=np.uint8)
    bits[list(token_ids)] = 1
    return np.packbits(bits, bitorder="little").view(np.int32)
