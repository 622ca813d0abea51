"""The corpus as rows of tokens for training, built by all cores side by side."""

from __future__ import annotations

import multiprocessing
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from sample_model import corpus
from sample_model.rendering import ASSISTANT, MARKS, SPECIAL_TOKENS, Document, render_conversation

ROW_TOKENS = 512
VOCABULARY = 1536
ASSISTANT_ID = SPECIAL_TOKENS.index(ASSISTANT)
TOKENIZER_CONVERSATIONS = 40_000
BORDERS = re.compile("|".join(map(re.escape, [*SPECIAL_TOKENS, *MARKS])))


@dataclass(frozen=True, slots=True)
class Rows:
    """[rows, 512] each, of whole conversations."""

    ids: NDArray[np.int16]
    positions: NDArray[np.int16]
    """Each conversation starts at 0."""
    may_learn: NDArray[np.bool_]
    """False in the messages of a conversation that only its last one is learned from."""


def train_tokenizer(seed: int) -> Tokenizer:
    """Returns a byte-level BPE; digits stay apart, so that a sum is read digit by digit."""
    conversations = corpus.build_training(seed, TOKENIZER_CONVERSATIONS)
    texts = (text for one in conversations for text in BORDERS.split(render_conversation(one).text))
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(MARKS),
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens([AddedToken(mark, normalized=False, special=False) for mark in MARKS])
    return tokenizer


def build_rows(tokenizer: Tokenizer, seed: int, conversations: int) -> Rows:
    parts = range(-(-conversations // corpus.PART))
    context = multiprocessing.get_context("fork")  # nothing is imported again; no CUDA is in use yet
    with context.Pool(initializer=_start_worker, initargs=(tokenizer.to_str(),)) as pool:
        packed = pool.map(partial(_build_part, seed), parts, chunksize=1)
    return Rows(*(np.concatenate([getattr(rows, name) for rows in packed]) for name in Rows.__slots__))


def pack_rows(documents: Iterator[tuple[list[int], bool]]) -> Rows:
    """Returns rows of the documents, given as their tokens and whether only their last message is learned from.

    One that is longer than a row is left out.
    """
    ids: list[list[int]] = [[]]
    positions: list[list[int]] = [[]]
    may_learn: list[list[int]] = [[]]
    for document, learns_last_only in documents:
        if len(document) > ROW_TOKENS:
            continue
        if len(ids[-1]) + len(document) > ROW_TOKENS:
            ids.append([])
            positions.append([])
            may_learn.append([])
        skipped = len(document) - document[::-1].index(ASSISTANT_ID) if learns_last_only else 0
        ids[-1] += document
        positions[-1] += range(len(document))
        may_learn[-1] += [0] * skipped + [1] * (len(document) - skipped)
    for row in (*ids, *positions, *may_learn):
        row += [0] * (ROW_TOKENS - len(row))
    return Rows(np.array(ids, np.int16), np.array(positions, np.int16), np.array(may_learn, np.bool_))


_worker_tokenizer: Tokenizer | None = None


def _start_worker(tokenizer: str) -> None:
    global _worker_tokenizer
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    _worker_tokenizer = Tokenizer.from_str(tokenizer)


def _build_part(seed: int, part: int) -> Rows:
    assert _worker_tokenizer is not None
    documents: list[Document] = [render_conversation(one) for one in corpus.build_part(seed, part)]
    encoded = _worker_tokenizer.encode_batch_fast([one.text for one in documents], add_special_tokens=False)
    return pack_rows((one.ids, document.learns_last_only) for one, document in zip(encoded, documents, strict=True))
