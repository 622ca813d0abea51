"""What holds for every setting of the three programs, wherever it is declared."""

import argparse
import runpy
from collections import Counter
from collections.abc import Iterator
from dataclasses import MISSING
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pagoda_gateway.settings
import pagoda_operator.settings
import pagoda_server.settings
from pagoda_gateway.__main__ import build_parser as build_gateway_parser
from pagoda_gateway.settings import Address, InheritedSocket
from pagoda_guard.flags import add_flags, build_arguments, read_settings
from pagoda_guard.settings import Declared, SettingError, declare
from pagoda_operator.settings import build_parser as build_operator_parser
from pagoda_server.__main__ import build_parser as build_server_parser
from pagoda_server.dialog.choose import REASONING_PARSERS, TOOL_PARSERS
from pagoda_server.engine.config import EngineConfig

SERVER = [EngineConfig, *(kind for name, kind in vars(pagoda_server.settings).items() if name.endswith("Settings"))]
PROGRAMS: dict[str, list[type[Any]]] = {
    "operator": [pagoda_operator.settings.Settings],
    "gateway": [pagoda_gateway.settings.Settings],
    "server": SERVER,
}
KINDS = [kind for kinds in PROGRAMS.values() for kind in kinds]
PARSERS = [build_operator_parser({}), build_gateway_parser(), build_server_parser()]
BOUNDED = [(kind, declared) for kind in KINDS for declared in declare(kind) if declared.accepted]
GIVEN = {pagoda_server.settings.Settings: {"engine": EngineConfig(model=Path("m"), socket=Path("s"))}}
"""The fields that a dataclass has beside its settings."""

WORD = st.text("aZ09-_.:/[] ", min_size=1).map(str.strip).filter(bool)
ADDRESS = st.builds(Address, st.sampled_from(["localhost", "0.0.0.0", "::1"]), st.integers(0, 65535))
VALUES: dict[Any, st.SearchStrategy[Any]] = {
    bool: st.booleans(),
    Path: st.text(min_size=1).map(Path),
    tuple[str, ...]: st.lists(WORD).map(tuple),
    tuple[int, ...]: st.lists(st.integers()).map(tuple),
    frozenset[str]: st.frozensets(WORD.map(str.lower)),
    Address: ADDRESS,
    Address | InheritedSocket: ADDRESS | st.builds(InheritedSocket, st.integers(min_value=0)),
}
CHECKED: dict[str, st.SearchStrategy[Any]] = {
    "models_size_limit": st.sampled_from(["500Gi", "1k", "7"]),
    "model_defaults": st.sampled_from(["{}", '{"scheduling": {"nodeSelector": {"a": "b"}}}']),
    "profiles": st.sampled_from(["{}", '{"h100": {"resources": {"memory": "64Gi"}}}']),
    "allowed": st.sampled_from(["{}", '{"env": ["NCCL_*"]}']),
    "tracing_endpoint": st.sampled_from(["", "http://collector:4318", "https://192.0.2.1/otlp"]),
    "tool_parser": st.sampled_from(TOOL_PARSERS),
    "reasoning_parser": st.sampled_from(REASONING_PARSERS),
    "cors_allowed_origins": st.frozensets(st.sampled_from(["*", "https://a.example", "http://localhost:3000"])),
    "batch_store": st.sampled_from(["", "/var/lib/batch", "s3://bucket/folder"]),
    "stale_seconds": st.floats(2, 1e9),
}
"""Values of the fields that have a check of their own."""


def choose_value(declared: Declared) -> st.SearchStrategy[Any]:
    setting = declared.setting
    if declared.name in CHECKED:
        return CHECKED[declared.name]
    if declared.choices:
        return st.sampled_from(declared.choices)
    if declared.kind is str:
        return st.text(min_size=1 if setting.is_filled else 0)
    if declared.kind is int:
        low, high = setting.minimum, setting.maximum
        return st.integers(None if low is None else int(low), None if high is None else int(high))
    if declared.kind is float:
        return st.floats(allow_nan=False).filter(setting.is_within)
    return VALUES[declared.kind]


@st.composite
def choose_settings(draw: st.DrawFn) -> object:
    kind = draw(st.sampled_from(KINDS))
    values: dict[str, Any] = {}
    for declared in declare(kind):
        chosen = choose_value(declared)
        if declared.setting.has_flag:
            values[declared.name] = draw(st.none() | chosen if declared.default is None else chosen)
    if kind is EngineConfig:
        values["max_batched_tokens"] = max(values["max_batched_tokens"], values["max_num_seqs"])
        values["deterministic"] = values["deterministic"] and values["tensor_parallel"] == 1
    return kind(**values, **GIVEN.get(kind, {}))


@given(choose_settings())
def test_a_command_line_gives_back_the_settings_it_was_made_of(settings: Any) -> None:
    kind, parser = type(settings), argparse.ArgumentParser()
    add_flags(parser, kind)
    assert read_settings(kind, parser.parse_args(build_arguments(settings)), **GIVEN.get(kind, {})) == settings


@pytest.mark.parametrize(("kind", "declared"), BOUNDED, ids=lambda part: getattr(part, "name", part.__module__))
def test_a_value_out_of_bounds_is_refused_with_field_value_and_fix(kind: type[Any], declared: Declared) -> None:
    bad = "other" if declared.choices else -1
    with pytest.raises(SettingError) as refused:
        kind(**{**build_required(kind), declared.name: bad})
    assert str(refused.value) == f"{declared.name} is {bad!r}; give {declared.accepted}"


def build_required(kind: type[Any]) -> dict[str, Any]:
    values = {str: "x", int: 1, float: 1.0, Path: Path("x")}
    required = {declared.name: values[declared.kind] for declared in declare(kind) if declared.default is MISSING}
    return {**required, **GIVEN.get(kind, {})}


def walk(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from walk(command)
        elif action.option_strings and action.dest != "help":
            yield action


def test_only_a_field_has_a_default_and_no_setting_has_two() -> None:
    assert [action.option_strings for parser in PARSERS for action in walk(parser) if action.default is not None] == []
    for program, kinds in PROGRAMS.items():
        names = Counter(
            declared.name for kind in kinds for declared in declare(kind) if declared.default not in (MISSING, None)
        )
        assert [name for name, count in names.items() if count > 1] == [], program


def test_every_flag_is_a_declared_setting_and_says_what_it_means() -> None:
    declared = {one.flag: one for kind in KINDS for one in declare(kind) if one.setting.has_flag}
    actions = [action for parser in PARSERS for action in walk(parser)]
    assert {action.option_strings[0] for action in actions} == set(declared)
    assert all(one.setting.help for one in declared.values())


def test_the_settings_reference_is_as_generated() -> None:
    folder = Path(__file__).parents[3] / "docs" / "reference"
    write = runpy.run_path(str(folder / "generate_settings.py"))["write_reference"]
    assert (folder / "settings.md").read_text("utf-8") == write(), "run: python docs/reference/generate_settings.py"
