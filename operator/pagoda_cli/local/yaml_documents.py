"""YAML as a file for `kubectl apply` has it, and no more: what a person writes, read in bounded time and memory.

Aliases count as what they stand for, so that a few lines cannot become a billion. Tags, keys that are not text and keys
that are there twice are refused. A date stays text, as it does for Kubernetes.
"""

from typing import Any

import yaml
from yaml.composer import ComposerError

MAX_NODES = 20_000
MAX_DEPTH = 64
MAX_NUMBER_CHARACTERS = 64
LARGEST_INTEGER = 2**63 - 1

TAG = "tag:yaml.org,2002:"
LEFT_AS_TEXT = {f"{TAG}timestamp", f"{TAG}value"}
KEY_TAGS = {f"{TAG}str", f"{TAG}merge"}


class YamlError(ValueError):
    """The text is not YAML that is read here; the message says what and where, and repeats none of it."""


def load_documents(text: str) -> list[Any]:
    """Returns the non-empty documents as dict, list, str, int, float, bool and None. Raises YamlError."""
    try:
        return [document for document in yaml.load_all(text, _Loader) if document is not None]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark is not None else ""
        raise YamlError(f"{error.problem or error.context}{where}") from error
    except yaml.YAMLError as error:
        raise YamlError("it holds a character that YAML does not have: save it as UTF-8 text") from error
    except (ValueError, OverflowError) as error:
        raise YamlError("it holds a number that cannot be read: write it in quotes, or correct it") from error


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag not in LEFT_AS_TEXT]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._nodes = 0
        self._depth = 0
        self._sizes: dict[yaml.Node, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> Any:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "tag", None) not in (None, f"{TAG}str"):
            raise ComposerError(None, None, f"the tag {event.tag[:40]!r} is not read here: remove it", event.start_mark)
        is_alias, before = isinstance(event, yaml.AliasEvent), self._nodes
        self._count(1, event)
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ComposerError(None, None, f"it is nested deeper than {MAX_DEPTH} levels", event.start_mark)
        node: Any = super().compose_node(parent, index)
        self._depth -= 1
        if not is_alias:
            self._sizes[node] = self._nodes - before
        elif node in self._sizes:
            self._count(self._sizes[node], event)
        else:
            raise ComposerError(None, None, f"the anchor {event.anchor[:40]!r} holds itself", event.start_mark)
        return node

    def _count(self, nodes: int, event: Any) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            problem = f"it holds more than {MAX_NODES} values, aliases counted as what they stand for"
            raise ComposerError(None, None, problem, event.start_mark)

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Refuses keys that are not text or are there twice. NB: before merges (`<<`), which may be overridden."""
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag not in KEY_TAGS:
                raise ComposerError(None, None, "a key is not text: write it in quotes", key.start_mark)
            if key.value in seen:
                raise ComposerError(None, None, f"the key {key.value[:40]!r} is there twice", key.start_mark)
            seen.add(key.value)
        return node


def _construct_integer(loader: _Loader, node: yaml.ScalarNode) -> int:
    value: int = loader.construct_yaml_int(_short(node))
    if abs(value) > LARGEST_INTEGER:
        raise ComposerError(None, None, f"a number is beyond {LARGEST_INTEGER}", node.start_mark)
    return value


def _construct_float(loader: _Loader, node: yaml.ScalarNode) -> float | int:
    """Returns a whole number as an integer: in the JSON that is sent to a cluster, 2.0 is 2."""
    value = float(loader.construct_yaml_float(_short(node)))
    return int(value) if value.is_integer() and abs(value) <= LARGEST_INTEGER else value


def _short(node: yaml.ScalarNode) -> yaml.ScalarNode:
    if len(node.value) > MAX_NUMBER_CHARACTERS:
        raise ComposerError(None, None, f"a number has {len(node.value)} characters", node.start_mark)
    return node


_Loader.add_constructor(f"{TAG}int", _construct_integer)
_Loader.add_constructor(f"{TAG}float", _construct_float)
