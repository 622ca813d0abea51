"""Writes docs/reference/settings.md from the declared settings: `python docs/reference/generate_settings.py`.

A test fails when the file is not what this writes.
"""

import sys
from collections.abc import Iterator
from dataclasses import MISSING
from pathlib import Path
from typing import Any, get_origin

from pagoda_gateway.settings import Settings as GatewaySettings
from pagoda_guard.settings import Declared, declare
from pagoda_operator.settings import Settings as OperatorSettings
from pagoda_server.engine.config import EngineConfig
from pagoda_server.process.command_lines import ENGINE_OF_SERVE
from pagoda_server.settings import CompileSettings, DrainSettings
from pagoda_server.settings import Settings as ServerSettings

TARGET = Path(__file__).parent / "settings.md"
HEAD = """# Settings

Written by `docs/reference/generate_settings.py`; do not edit.

Every program stops with exit code 2 when a setting is wrong, and names the setting, its value and what it accepts.
`--help` says the same as this page. In a cluster the chart gives the operator its settings, and the operator those of
gateway and server, from the [ModelDeployment](modeldeployment.md).
"""
KINDS = {int: "integer", float: "number", str: "text", Path: "path", bool: "switch"}


def describe_kind(declared: Declared) -> str:
    if declared.choices:
        return " \\| ".join(f"`{choice}`" for choice in declared.choices)
    kind = KINDS.get(declared.kind, "address")
    if get_origin(declared.kind) in (tuple, frozenset):
        kind = "list, apart by commas" + (" or spaces" if declared.setting.takes_words else "")
    return ", ".join(filter(None, [kind, declared.setting.bounds]))


def describe_default(declared: Declared) -> str:
    if declared.default is MISSING:
        return "required"
    return f"`{declared.default_text}`" if declared.default_text else ""


def build_rows(declared: Iterator[Declared], *, has_variables: bool = False) -> list[str]:
    names = ["flag", *(["variable"] if has_variables else []), "value", "default", "meaning"]
    rows = [names, ["---"] * len(names)]
    for one in declared:
        if one.setting.has_flag:
            variable = [f"`{one.variable}`"] if has_variables else []
            meaning = one.meaning.replace("|", "\\|")
            rows.append([f"`{one.flag}`", *variable, describe_kind(one), describe_default(one), meaning])
    return [f"| {' | '.join(row)} |".replace("|  |", "| |") for row in rows] + [""]


def list_serve() -> Iterator[Declared]:
    yield from declare(ServerSettings)
    yield from declare(EngineConfig, ENGINE_OF_SERVE)


def write_reference() -> str:
    parts: dict[str, Any] = {
        "Gateway: `python -m pagoda_gateway sidecar`": declare(GatewaySettings),
        "Server: `python -m pagoda_server serve`": list_serve(),
        "Before a pod stops: `python -m pagoda_server drain`": declare(DrainSettings),
        "Kernels for an image: `python -m pagoda_server compile`": declare(CompileSettings),
    }
    lines = [HEAD, "## Operator: `python -m pagoda_operator`\n", "A flag wins over its variable.\n"]
    lines += build_rows(declare(OperatorSettings), has_variables=True)
    for title, declared in parts.items():
        lines += [f"## {title}\n", *build_rows(declared)]
    return "\n".join(lines)


if __name__ == "__main__":
    TARGET.write_text(write_reference(), encoding="utf-8")
    print(f"wrote {TARGET.name}", file=sys.stderr)
