"""A model's reasoning, split from its answer: between tags that the model writes, or that its template has opened.

Blanks beside the tags are the notation's. Only a model that reasons between its calls too opens a tag once more;
elsewhere a later tag is text, because models also write about tags.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Literal

from pagoda_server.dialog.events import AnswerParser
from pagoda_server.dialog.feed import Feed, Marks, Reading
from pagoda_server.dialog.lark import Rules
from pagoda_server.dialog.parser import ReadingParser
from pagoda_server.dialog.writer import Writer

State = Literal["before", "inside", "after"]
"""Where an answer starts: before a tag that the model may open, inside one that the prompt has opened, or after it."""


@dataclass(frozen=True, slots=True)
class ReasoningFormat:
    name: str
    title: str
    models: str
    begin: str
    end: str
    sign: str
    """How it is recognised, in words."""
    is_recognised: Callable[[str, Collection[str]], bool]
    is_fallback: bool = False
    label: str = ""
    """Written behind the tag, before the reasoning."""
    returns: bool = False
    """The model may open the tag again later in its answer."""

    @property
    def markers(self) -> frozenset[str]:
        return frozenset({self.begin, self.end})

    def find_state(self, prompt: str, prefix: str = "") -> State:
        """Returns where the answer to a rendered prompt starts. `prefix`: what it has said already, if it goes on."""
        if prefix:
            opened, closed = prefix.rfind(self.begin), prefix.rfind(self.end)
            return "inside" if opened > closed else "after"
        end = prompt[-256:].rstrip().removesuffix(self.label).rstrip() if self.label else prompt[-256:].rstrip()
        if end.endswith(self.begin):
            return "inside"
        return "after" if end.endswith(self.end) else "before"

    def build_parser(self, state: State, breaks: Collection[str] = ()) -> AnswerParser:
        """Returns a parser. `breaks`: what ends the reasoning without its tag, such as the mark of a call."""
        return ReadingParser(lambda feed, writer: self._read(feed, writer, state, breaks))

    def write_rules(self, rules: Rules, state: State, budget: int | None) -> str:
        """Returns what matches the reasoning, its end and the blanks behind that, "" where there can be none.

        `budget`: the maximum number of tokens. Beyond it the end tag is all that may come.
        """
        end = rules.literal(self.end) if budget == 0 else rules.until(self.end, max_tokens=budget, is_exact=False)
        if state == "inside":
            return f"{end} {rules.blanks()}"
        if state == "after" or budget == 0:
            return ""
        label = rules.literal(self.label) if self.label else ""
        return f"({rules.literal(self.begin)} {label} {end} {rules.blanks()})?"

    def _read(self, feed: Feed, writer: Writer, state: State, breaks: Collection[str]) -> Reading[None]:
        ends, begins = Marks(self.end, *breaks), Marks(self.begin)
        found = None if state == "after" else (yield from feed.attempt(self._read_begin(feed)))
        is_inside = state == "inside" or found is not None
        while True:
            if is_inside:
                yield from self._read_inside(feed, writer, ends)
            if not self.returns or not (yield from feed.pass_until(begins, writer.content.write)):
                return
            writer.content.border()
            is_inside = True

    def _read_inside(self, feed: Feed, writer: Writer, ends: Marks) -> Reading[None]:
        writer.reasoning.border()
        yield from feed.attempt(self._read_label(feed))
        end = yield from feed.pass_until(ends, writer.reasoning.write)
        if end:
            writer.reasoning.border()
            writer.content.border()
        if end != self.end:
            writer.content.write(end)

    def _read_begin(self, feed: Feed) -> Reading[str | None]:
        yield from feed.skip_space()
        return (yield from feed.accept(self.begin)) or None

    def _read_label(self, feed: Feed) -> Reading[str | None]:
        if not self.label:
            return None
        yield from feed.skip_space()
        return (yield from feed.accept(self.label)) or None


def build_tags(name: str, title: str, models: str, tag: str = "think") -> ReasoningFormat:
    begin, end = f"<{tag}>", f"</{tag}>"
    return ReasoningFormat(
        name=name,
        title=title,
        models=models,
        begin=begin,
        end=end,
        sign=f"`{end}` in the template or among the added tokens",
        is_recognised=lambda template, tokens: end in template or end in tokens,
    )


THINK = build_tags(
    "think",
    "Think tags",
    "DeepSeek R1 and V3.1, Qwen 3 and 3.5, QwQ, GLM 4.5 to 4.7, Nemotron, MiniMax M2, Kimi K2 Thinking",
)
SEED = build_tags("seed_oss", "Seed's think tags", "Seed-OSS", "seed:think")
MAGISTRAL = ReasoningFormat(
    name="mistral",
    title="Mistral's think tokens",
    models="Magistral, Mistral Small and Large with reasoning",
    begin="[THINK]",
    end="[/THINK]",
    sign="`[/THINK]` in the template or among the added tokens",
    is_recognised=lambda template, tokens: "[/THINK]" in template or "[/THINK]" in tokens,
    returns=True,
)
GEMMA = ReasoningFormat(
    name="gemma4",
    title="Gemma's thought channel",
    models="Gemma 4",
    begin="<|channel>",
    end="<channel|>",
    label="thought",
    sign="`<|channel>` among the added tokens or in the template",
    is_recognised=lambda template, tokens: "<channel|>" in template or "<channel|>" in tokens,
    returns=True,
)
REASONING_FORMATS = (SEED, MAGISTRAL, GEMMA, THINK)
"""In the order in which they are looked for."""
