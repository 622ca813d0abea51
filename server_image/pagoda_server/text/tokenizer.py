"""Text to token ids and back, and the model's own chat template.

The template comes only from the model's folder, never from a request. It runs in jinja's immutable sandbox, in the same
environment as transformers, because templates are written for that one. Text of a message, of a tool or of anything
else that a client wrote never becomes a special token; a prompt given as text is the caller's own and may hold them.
"""

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jinja2
from tokenizers import Encoding
from tokenizers import Tokenizer as RawTokenizer

from pagoda_server.text.budget import Budget, TooMuchWork, current
from pagoda_server.text.continuation import Continuation, MarkLost
from pagoda_server.text.files import read_files
from pagoda_server.text.length import measure_longest_token
from pagoda_server.text.nesting import change_texts, measure
from pagoda_server.text.special import HiddenText, PlaceholderLost, SpecialTokens
from pagoda_server.text.template import NO_TEMPLATE, Template, read_template
from pagoda_server.text.token_bytes import TokenBytes, build_token_bytes

MAX_SAID_CHARACTERS = 300
Message = Mapping[str, Any]
Variables = Mapping[str, Any]
"""What the template is told beside the messages: `tools`, and what its author made up, such as `enable_thinking`."""
NO_VARIABLES: Variables = MappingProxyType({})


class TemplateError(Exception):
    """The model's template refuses these messages, or there is no template."""


class PromptTooLong(Exception):
    """The text has at least `at_least` tokens, found before a list of them is made."""

    def __init__(self, at_least: int, limit: int) -> None:
        super().__init__(f"the prompt has at least {at_least} tokens, above {limit}")
        self.at_least = at_least
        self.limit = limit


@dataclass(frozen=True, slots=True)
class Tokenizer:
    raw: RawTokenizer
    plain: RawTokenizer
    """The same, but it takes special tokens for ordinary text. A second one, because that is a switch of the whole."""
    special: SpecialTokens
    template: Template
    special_tokens: dict[str, str]
    """What the template may name: `bos_token` and the like."""
    longest_token: int | None
    """Characters; None when no bound is certain."""
    token_bytes: TokenBytes

    def encode(
        self, text: str, *, add_special_tokens: bool = True, limit: int | None = None, keep_last: int | None = None
    ) -> list[int]:
        """Returns the text's token ids, of those that are too many for `keep_last` the last.

        Raises `PromptTooLong` when there are more than `limit`.
        """
        self._check_length(text, limit)
        return _list_ids([_encode(self.raw, text, add_special_tokens=add_special_tokens)], limit, keep_last)

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        text: str = self.raw.decode(list(ids), skip_special_tokens=skip_special_tokens)
        return text

    def list_special_ids(self) -> dict[str, int]:
        added = self.raw.get_added_tokens_decoder()
        return {token.content: token_id for token_id, token in added.items() if token.special}

    def build_decode(self, kept: Set[str]) -> Callable[[Sequence[int]], str]:
        """Returns what makes text of tokens, and of special tokens only those that are to be kept."""
        dropped = frozenset(token_id for content, token_id in self.list_special_ids().items() if content not in kept)
        raw, is_free = self.raw, dropped.isdisjoint

        def decode(ids: Sequence[int]) -> str:
            text: str = raw.decode(ids if is_free(ids) else [one for one in ids if one not in dropped], False)
            return text

        return decode

    def token_text(self, token_id: int) -> str:
        """Returns one token by itself, special tokens by their name: what logprobs call the token."""
        return self.token_bytes.name_text(token_id)

    def render_chat(self, messages: Sequence[Message], variables: Variables = NO_VARIABLES) -> str:
        """Returns the template's text.

        Raises `TemplateError`, also when the template would take for ever or too much memory.
        """
        template = self.template.choose(with_tools=bool(variables.get("tools")))
        if template is None:
            raise TemplateError("this model has no chat template; use /v1/completions")
        size = measure(messages, variables)
        budget = Budget(messages=len(messages), characters=size.characters, members=size.members)
        token = current.set(budget)
        try:
            return template.render(
                **{"add_generation_prompt": True, "tools": None, "documents": None, **variables},
                messages=[dict(message) for message in messages],
                **self.special_tokens,
            )
        except Exception as error:  # the template is code that came with the model: it may raise anything
            raise TemplateError(describe_template_error(error)) from error
        finally:
            current.reset(token)

    def encode_chat(
        self,
        messages: Sequence[Message],
        variables: Variables = NO_VARIABLES,
        *,
        limit: int | None = None,
        keep_last: int | None = None,
        continues_last: bool = False,
        add_special_tokens: bool = False,
    ) -> list[int]:
        """Returns the token ids of the rendered messages, with `continues_last` open at the end of the last one.

        `keep_last`: as in `encode`. Raises `TemplateError` and, as `encode`, `PromptTooLong`.
        """
        self._check_rendered(messages, variables, limit)
        hidden = HiddenText(self.special)
        told = {name: change_texts(value, hidden.hide) for name, value in variables.items()}
        shown = [_hide(hidden, message) for message in messages]
        rendered = self._render_open(shown, told) if continues_last else self.render_chat(shown, told)
        parts = self._encode_rendered(rendered, hidden, limit)
        return _list_ids(self._frame(parts) if add_special_tokens else parts, limit, keep_last)

    def _render_open(self, messages: Sequence[Message], variables: Variables) -> str:
        continuation = Continuation()
        try:
            rendered = self.render_chat(continuation.open(messages), {**variables, "add_generation_prompt": False})
            return continuation.cut(rendered)
        except MarkLost as error:
            raise TemplateError(
                "the model's chat template does not write the last message whole, so no answer can go on with it; "
                "remove continue_final_message"
            ) from error

    def _frame(self, parts: Sequence[Encoding]) -> list[Encoding]:
        """Returns the parts between the tokens that this tokenizer puts around a text by itself."""
        before, after = (_encode(self.raw, "a", add_special_tokens=True) for _ in range(2))
        mask = before.special_tokens_mask
        before.truncate(sum(takewhile(bool, mask)))
        after.truncate(sum(takewhile(bool, reversed(mask))), direction="left")
        return [before, *parts, after]

    def _encode_rendered(self, rendered: str, hidden: HiddenText, limit: int | None) -> list[Encoding]:
        if not hidden:
            self._check_length(rendered, limit)
            return [_encode(self.raw, rendered)]
        try:
            self._check_length(hidden.restore(rendered), limit)
            sections = list(hidden.sections(rendered))
        except PlaceholderLost as error:
            raise TemplateError("the model's chat template cannot take a special token's name as text") from error
        return [_encode(self.plain if section.from_message else self.raw, section.text) for section in sections]

    def _check_rendered(self, messages: Sequence[Message], variables: Variables, limit: int | None) -> None:
        """Refuses messages that can never fit before anything is looked for in them.

        NB: a template may leave out most of what they say, so what counts is what it renders.
        """
        if limit is not None and self._count_minimum(measure(messages, variables).characters) > limit:
            self._check_length(self.render_chat(messages, variables), limit)

    def _count_minimum(self, characters: int) -> int:
        """Returns the minimum number of tokens that so many characters have."""
        return 0 if self.longest_token is None else -(-characters // self.longest_token)

    def _check_length(self, text: str, limit: int | None) -> None:
        at_least = self._count_minimum(len(text))
        if limit is not None and at_least > limit:
            raise PromptTooLong(at_least, limit)


def describe_template_error(error: Exception) -> str:
    said = str(error)[:MAX_SAID_CHARACTERS]
    if isinstance(error, TooMuchWork):
        return f"the model's chat template does not work: {said}"
    kind = "" if isinstance(error, jinja2.TemplateError) else f"{type(error).__name__}: "
    return f"the model's chat template refuses these messages: {kind}{said}"


def _hide(hidden: HiddenText, message: Message) -> dict[str, Any]:
    """Returns what the client wrote of a message, hidden; the role is one of a few words."""
    return {field: value if field == "role" else change_texts(value, hidden.hide) for field, value in message.items()}


def _encode(raw: RawTokenizer, text: str, *, add_special_tokens: bool = False) -> Encoding:
    """Returns the text's encoding, without offsets, which nobody needs.

    NB: it is a batch of one: only a batch lets other threads run meanwhile.
    """
    return raw.encode_batch_fast([text], add_special_tokens=add_special_tokens)[0]


def _list_ids(parts: Sequence[Encoding], limit: int | None, keep_last: int | None = None) -> list[int]:
    """Returns the ids of all parts, or the last of them. Raises `PromptTooLong`.

    NB: they are counted first: while a list of a million is made no other thread runs.
    """
    count = sum(map(len, parts))
    if limit is not None and count > limit:
        raise PromptTooLong(count, limit)
    token_ids = [token_id for part in parts for token_id in part.ids]
    return token_ids if keep_last is None else token_ids[-keep_last:]


def read_tokenizer(folder: Path) -> Tokenizer:
    """Returns the folder's tokenizer.

    Raises ValueError, naming file and field, for a file that is not what it should be.
    """
    files = read_files(folder)
    try:
        return build_tokenizer(files.raw, files.template, files.special_tokens, files.tool_template)
    except (jinja2.TemplateError, RecursionError) as error:
        raise ValueError(f"the model's chat_template cannot be compiled: {error}") from error


def build_tokenizer(
    raw: RawTokenizer, template: str | None, special_tokens: dict[str, str], tool_template: str | None = None
) -> Tokenizer:
    plain = RawTokenizer.from_str(raw.to_str())
    plain.encode_special_tokens = True
    return Tokenizer(
        raw=raw,
        plain=plain,
        special=SpecialTokens(raw),
        template=NO_TEMPLATE if template is None else read_template(template, tool_template),
        special_tokens=special_tokens,
        longest_token=measure_longest_token(raw),
        token_bytes=build_token_bytes(raw),
    )
