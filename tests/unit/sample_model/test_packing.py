"""Rows for training: whole conversations, and loss on what the assistant says only."""

import pytest

from sample_model.packing import ROW_TOKENS, VOCABULARY, pack_rows, train_tokenizer
from sample_model.rendering import MARKS, SPECIAL_TOKENS

END, SYSTEM, USER, ASSISTANT = range(4)
FIRST = [USER, 10, END, ASSISTANT, 11, 12, END]
SECOND = [USER, 20, END, ASSISTANT, 21, END, USER, 22, END, ASSISTANT, 23, END]


def list_learned(*documents: tuple[list[int], bool]) -> list[int]:
    """The tokens that carry loss, in order."""
    torch = pytest.importorskip("torch")
    from sample_model.train import build_batch

    rows = pack_rows(iter(documents))
    labels = build_batch(*(torch.from_numpy(array) for array in (rows.ids, rows.positions, rows.may_learn)))["labels"]
    return [int(label) for label in labels.flatten() if label != -100]


def test_only_what_the_assistant_says_is_learned() -> None:
    assert list_learned((FIRST, False), (SECOND, False)) == [11, 12, END, 21, END, 23, END]


def test_only_the_last_message_is_learned_where_it_alone_was_thought_about() -> None:
    assert list_learned((FIRST, False), (SECOND, True), (FIRST, True)) == [11, 12, END, 23, END, 11, 12, END]


def test_a_conversation_is_never_cut() -> None:
    long = [USER, *[9] * (ROW_TOKENS - 4), END, ASSISTANT, END]
    rows = pack_rows(iter([(FIRST, False), (long, False), ([9, *long], False)]))
    assert rows.ids.shape == (2, ROW_TOKENS)
    assert rows.ids[1].tolist() == long and rows.positions[1].tolist() == list(range(ROW_TOKENS))


def test_marks_are_tokens_of_their_own_and_not_special(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sample_model.packing.TOKENIZER_CONVERSATIONS", 300)
    tokenizer = train_tokenizer(1)
    assert tokenizer.get_vocab_size() <= VOCABULARY
    for mark in MARKS:
        assert len(tokenizer.encode(mark, add_special_tokens=False).ids) == 1
        assert tokenizer.decode(tokenizer.encode(mark, add_special_tokens=False).ids) == mark
    special = [token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special]
    assert special == SPECIAL_TOKENS
