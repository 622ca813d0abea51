"""A model's chat templates, and what can be seen of them before anything is rendered."""

import re
from dataclasses import dataclass

import jinja2
from jinja2 import meta

from pagoda_server.text.sandbox import Sandbox

RESERVED_NAMES = frozenset(Sandbox().globals) | {
    *("messages", "tools", "documents", "add_generation_prompt", "chat_template"),
    *("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token"),
}
"""What a template is told by the server, so that no client may give it a value."""
_ASKS_FOR_NULL = re.compile(r"content['\"]?\]?\s+is\s+none")


@dataclass(frozen=True, slots=True)
class Template:
    default: jinja2.Template | None
    for_tools: jinja2.Template | None
    """Another one for chats with tools; None: the default."""
    source: str
    """Of the one that is used with tools."""
    variables: frozenset[str]
    """The names that it may be told."""

    def choose(self, *, with_tools: bool) -> jinja2.Template | None:
        return self.for_tools if with_tools and self.for_tools is not None else self.default

    @property
    def takes_tools(self) -> bool:
        return "tools" in self.variables

    @property
    def takes_system(self) -> bool:
        """Returns whether it takes a system message, so far as it says in words that it does not."""
        return re.search(r"system role (is )?not supported", self.source, re.IGNORECASE) is None

    def mentions(self, word: str) -> bool:
        """Returns whether the template has this word in it, a member of a message perhaps."""
        return re.search(rf"\b{word}\b", self.source) is not None

    @property
    def takes_null_content(self) -> bool:
        """Returns whether an assistant's message without content has null for it, and not an empty text."""
        return _ASKS_FOR_NULL.search(self.source) is not None


NO_TEMPLATE = Template(None, None, "", frozenset())


def read_template(source: str, tool_source: str | None = None) -> Template:
    """Returns the compiled templates. Raises jinja's errors and `RecursionError`."""
    sandbox = Sandbox()
    sources = [source] if tool_source is None else [source, tool_source]
    variables = frozenset[str]().union(*(meta.find_undeclared_variables(sandbox.parse(one)) for one in sources))
    compiled = [sandbox.from_string(one) for one in sources]
    return Template(compiled[0], compiled[-1] if tool_source is not None else None, sources[-1], variables)
