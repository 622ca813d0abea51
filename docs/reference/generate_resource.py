"""Writes docs/reference/modeldeployment.md from the CRD: `python docs/reference/generate_resource.py`.

A test fails when the file is not what this writes.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pagoda_operator.api.crd import build_crd
from pagoda_operator.api.reasons import Reason
from pagoda_operator.api.rules import RULES

TARGET = Path(__file__).parent / "modeldeployment.md"
HEAD = """# ModelDeployment

Written by `docs/reference/generate_resource.py`; do not edit.
`kubectl explain modeldeployment.spec --recursive` shows the same.

`pagoda.dev/v1alpha1`, short name `mdep`, category `pagoda`. Only `spec.model.uri` is needed. A field that
is not listed here is refused by name.
"""


def read_fields(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any], bool]]:
    """Path, schema and whether it is required, of every field below."""
    for name, child in schema.get("properties", {}).items():
        below = f"{path}.{name}"
        yield below, child, name in schema.get("required", ())
        yield from read_fields(child, below)
        yield from read_fields(child.get("items", {}), f"{below}[]")


def describe_type(schema: dict[str, Any]) -> str:
    if schema.get("x-kubernetes-int-or-string"):
        return "integer or string"
    if schema["type"] == "array":
        return f"list of {schema['items']['type']}s"
    if "enum" in schema:
        return " \\| ".join(f"`{value}`" for value in schema["enum"])
    low = ">" if schema.get("exclusiveMinimum") else "≥"
    bounds = [f"{sign} {schema[key]}" for key, sign in (("minimum", low), ("maximum", "≤")) if key in schema]
    return ", ".join([str(schema["type"]), *bounds])


def describe_default(schema: dict[str, Any], required: bool) -> str:
    if required:
        return "required"
    return "`" + json.dumps(schema["default"]).strip('"') + "`" if "default" in schema else ""


def build_row(path: str, schema: dict[str, Any], required: bool) -> str:
    text = str(schema.get("description", "")).replace("|", "\\|").replace("\n", " ")
    return f"| `{path}` | {describe_type(schema)} | {describe_default(schema, required)} | {text} |"


def write_reference() -> str:
    root = build_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    lines = [HEAD]
    for part, title in (("spec", "Spec"), ("status", "Status")):
        lines += [f"## {title}\n", "| field | type | default | meaning |", "|---|---|---|---|"]
        lines += [build_row(*found) for found in read_fields(root[part], part)]
        lines.append("")
    lines += ["## Rules\n", "What the API server refuses, in its own words:\n"]
    lines += [f"- {rule.message}" for rule in RULES]
    lines += ["", "## Reasons\n", "What conditions and events say in one word:\n"]
    lines += ["| reason | meaning | what to do |", "|---|---|---|"]
    lines += [f"| `{reason}` | {reason.meaning} | {reason.fix} |" for reason in Reason]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    TARGET.write_text(write_reference(), encoding="utf-8")
    print(f"wrote {TARGET.name}", file=sys.stderr)
