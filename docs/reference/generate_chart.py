"""Writes helm/pagoda/README.md from the chart and its values: `python docs/reference/generate_chart.py`.

A test fails when the file is not what this writes, or when a value has no comment.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parents[2] / "helm" / "pagoda"
TARGET = CHART / "README.md"
HEAD = """# The chart

Written by `docs/reference/generate_chart.py`; do not edit.

{description}

Version {version} installs the CRD, the operator and its rights. It needs at least Kubernetes {kubernetes} and helm 3.8.

```bash
helm install pagoda helm/pagoda --namespace pagoda-system --create-namespace
```

Your own images, private registries, clusters without internet, OpenShift, upgrade and uninstall:
[install]({source}/blob/main/docs/install.md).

## Values

A value that the chart does not know is refused.

| value | default | meaning |
| --- | --- | --- |
"""


@dataclass(frozen=True, slots=True)
class Value:
    name: str
    default: Any
    comment: str
    is_group: bool


def read_values(text: str) -> Iterator[Value]:
    """Yields each value of the chart with the comment above it; after a group what is in it."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    assert isinstance(root, yaml.MappingNode)
    yield from _walk(root, text.splitlines(), "")


def _walk(node: yaml.MappingNode, lines: list[str], prefix: str) -> Iterator[Value]:
    for key, value in node.value:
        name = f"{prefix}{key.value}"
        is_group = isinstance(value, yaml.MappingNode) and _has_comments(value, lines)
        default = None if is_group else yaml.SafeLoader("").construct_document(value)
        yield Value(name, default, _read_comment(lines, key.start_mark.line), is_group)
        if is_group:
            yield from _walk(value, lines, f"{name}.")


def _has_comments(node: yaml.MappingNode, lines: list[str]) -> bool:
    def is_commented(key: yaml.Node, value: yaml.Node) -> bool:
        inside = isinstance(value, yaml.MappingNode) and _has_comments(value, lines)
        return inside or bool(_read_comment(lines, key.start_mark.line))

    return any(is_commented(key, value) for key, value in node.value)


def _read_comment(lines: list[str], at: int) -> str:
    """Returns the comment that ends above line `at`."""
    first = at
    while first and lines[first - 1].lstrip().startswith("# "):
        first -= 1
    return " ".join(line.lstrip(" #") for line in lines[first:at])


def build_row(value: Value) -> str:
    default = "" if value.is_group else f"`{json.dumps(value.default)}`"
    cells = [f"`{value.name}`", default, value.comment.replace("|", "\\|")]
    return f"| {' | '.join(cells)} |".replace("|  |", "| |")


def write_reference() -> str:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    kubernetes = chart["kubeVersion"].removeprefix(">=").removesuffix(".0-0")
    head = HEAD.format(
        description=chart["description"], version=chart["version"], kubernetes=kubernetes, source=chart["home"]
    )
    values = read_values((CHART / "values.yaml").read_text())
    return head + "".join(f"{build_row(value)}\n" for value in values if value.comment or not value.is_group)


if __name__ == "__main__":
    TARGET.write_text(write_reference(), encoding="utf-8")
    print(f"wrote {TARGET.name}", file=sys.stderr)
