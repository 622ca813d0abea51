"""Writes grammars for llguidance in its variation of Lark's notation."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence

from pagoda_server.dialog.schemas import Schema

OPTIONS = "x-guidance"
"""The member of a schema that is the compiler's own."""
TEXT = r"/(.|\n)*/"
SOME_TEXT = r"/(.|\n)+/"
BLANKS = r"/[ \n]{1,4}/"
WHITESPACE = r"[ \t]{1,8}|\r?\n[ \t]{0,64}"
"""What JSON may have between its signs: a few blanks, or a line's end and an indentation. Nothing in it can go on for
ever: some models would write blank lines to the end of their context."""


class Rules:
    """The rules of one grammar. Special tokens are written by their number: their text is no text to a grammar."""

    def __init__(self, special_ids: Mapping[str, int]) -> None:
        self._special_ids = special_ids
        self._special = re.compile("|".join(map(re.escape, sorted(special_ids, key=len, reverse=True))) or r"(?!)")
        self._lines = ["%llguidance {}"]
        self._num_names = 0

    def is_special(self, text: str) -> bool:
        return text in self._special_ids

    def add(self, body: str, *, name: str = "", options: str = "") -> str:
        """Adds a rule. Returns its name."""
        name = name or self._number("rule")
        self._lines.append(f"{name}{f'[{options}]' if options else ''}: {body}")
        return name

    def add_terminal(self, body: str) -> str:
        """Adds a regular expression. Returns its name."""
        name = self._number("TEXT")
        self._lines.append(f"{name}: {body}")
        return name

    def reserve(self) -> str:
        """Returns the name of a rule that is added later: rules may refer to each other."""
        return self._number("rule")

    def write(self) -> str:
        return "\n".join(self._lines) + "\n"

    def literal(self, text: str) -> str:
        """Returns the text as it stands in a rule, special tokens as tokens. NB: no client's text."""
        parts, at = [], 0
        for found in self._special.finditer(text):
            parts += [_quote(text[at : found.start()]), f"<[{self._special_ids[found[0]]}]>"]
            at = found.end()
        return " ".join(filter(None, [*parts, _quote(text[at:])])) or '""'

    @staticmethod
    def plain(text: str) -> str:
        """Returns a client's text as it stands in a rule: nothing in it is a token."""
        return _quote(text) or '""'

    def blanks(self) -> str:
        """Returns what matches the few blanks that models put between their parts."""
        return f"{self.add_terminal(BLANKS)}?"

    def anything(self, tokens: Iterable[str], *, text: str = TEXT) -> str:
        """Returns what matches any text, with these of the special tokens in it."""
        ids = sorted(self._special_ids[token] for token in tokens if token in self._special_ids)
        first = self.add(self.add_terminal(text))
        if not ids:
            return first
        return f"{first} (<[{','.join(map(str, ids))}]> | {self.add_terminal(SOME_TEXT)})*"

    def in_order(self, parts: Sequence[tuple[str, bool]], comma: str) -> str:
        """Returns what matches the parts in their order with commas between them; True: a part that must be there."""
        between, is_optional, some = self.literal(comma), True, ""
        for part, is_required in parts:
            first = part if is_optional else ""
            more = f"{some} {between} {part}" if some else ""
            kept = "" if is_required else some
            some = self.add(" | ".join(filter(None, [first, more, kept])))
            is_optional = is_optional and not is_required
        return f"({some})?" if some and is_optional else some

    def until(self, end: str, *, text: str = TEXT, max_tokens: int | None = None, is_exact: bool = True) -> str:
        """Returns what matches text up to the first `end`, and that. Beyond `max_tokens` the end is all that may come.

        Where the end is a special token, text may still spell it, unless it is exact: that costs each mask 0.15 ms.
        NB: a limit of tokens takes the grammar's way back (speculation), so it stands only where one is asked for.
        """
        limit = "" if max_tokens is None else f"max_tokens={max_tokens}"
        if self.is_special(end):
            terminal = self.add_terminal(f"{text} & {self.without(end)}" if is_exact else text)
            return f"{self.add(terminal, options=limit)} {self.literal(end)}"
        terminal = self.add_terminal(text if text == TEXT else f"{text} & {self.without(end)}")
        if max_tokens is None:
            return self.add(self.add_terminal(f"{terminal} {_quote(end)}"), options="lazy")
        return f"{self.add(terminal, options=f'{limit}, stop={_quote(end)}')} {_quote(end)}"

    @staticmethod
    def without(text: str) -> str:
        """Returns the regular expression of all that does not hold this text."""
        return rf"~/(.|\n)*{escape_regex(text)}(.|\n)*/"

    def json(self, schema: Schema | bool, *, is_lenient: bool = False) -> str:
        """Returns what matches JSON of a schema. Lenient: keywords that the grammar cannot hold are left out."""
        options = {"whitespace_pattern": WHITESPACE, "lenient": is_lenient}
        return self.prepared_json(schema if isinstance(schema, bool) else {**schema, OPTIONS: options})

    @staticmethod
    def prepared_json(schema: Schema | bool) -> str:
        """Returns what matches JSON of a schema that may have options of the compiler in it. NB: no client's."""
        return f"%json {json.dumps(schema, ensure_ascii=False)}"

    def _number(self, kind: str) -> str:
        self._num_names += 1
        return f"{kind}_{self._num_names}"


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False) if text else ""


def escape_regex(text: str) -> str:
    """Returns a regular expression of just this text, as it stands between slashes."""
    return "".join(char if char.isalnum() or ord(char) > 127 else f"\\x{ord(char):02x}" for char in text)


def write_regex(pattern: str) -> str:
    """Returns a regular expression between slashes; a slash in it that is escaped already stays so."""
    written, is_escaped = [], False
    for char in pattern.replace("\n", r"\n"):
        written.append(r"\/" if char == "/" and not is_escaped else char)
        is_escaped = char == "\\" and not is_escaped
    return f"/{''.join(written)}/"
