"""A declared setting is its flag, its variable, its check, and its place on the command line of a child process."""

import argparse
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pytest

from pagoda_guard.flags import add_flags, build_arguments, read_settings
from pagoda_guard.settings import Setting, SettingError, check


def parse_even(text: str) -> int:
    if not text.isdecimal() or int(text) % 2:
        raise ValueError(f"{text!r} is odd: give an even number")
    return int(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Oven:
    name: Annotated[str, Setting("the name on the door", is_filled=True)]
    heat: Annotated[float, Setting("how hot, 100 % at most", above=0, maximum=1)] = 0.5
    trays: Annotated[int | None, Setting("trays; by default as many as fit", minimum=1)] = None
    port: Annotated[int, Setting("where it listens", minimum=0, maximum=65535)] = 80
    fan: Annotated[bool, Setting("the fan")] = True
    grill: Annotated[bool, Setting("heat from above")] = False
    mode: Annotated[Literal["bake", "roast", "toast"], Setting("what it does")] = "bake"
    recipes: Annotated[tuple[str, ...], Setting("what it knows")] = ()
    times: Annotated[tuple[int, ...], Setting("minutes of each round", takes_words=True)] = (5, 10)
    folder: Annotated[Path | None, Setting("where recipes are")] = None
    eggs: Annotated[int, Setting("how many", parse=parse_even)] = 2
    bricks: Annotated[int, Setting("of the wall", minimum=1, has_flag=False)] = 100
    seen: float = math.nan

    def __post_init__(self) -> None:
        check(self)


def read(*words: str, environ: Mapping[str, str] | None = None) -> Oven:
    parser = argparse.ArgumentParser()
    add_flags(parser, Oven, environ=environ)
    return read_settings(Oven, parser.parse_args(words), seen=0.0)


def test_without_flags_the_defaults_of_the_fields_hold() -> None:
    assert read("--name=a") == Oven(name="a", seen=0.0)


def test_a_flag_is_parsed_by_the_type_of_its_field() -> None:
    words = ["--name", "a", "--heat", "0.25", "--trays=3", "--no-fan", "--grill", "--mode=toast", "--recipes= x, y ,"]
    oven = read(*words, "--times", "1", "2", "--folder=/r", "--eggs=4")
    assert (oven.heat, oven.trays, oven.fan, oven.grill, oven.mode) == (0.25, 3, False, True, "toast")
    assert (oven.recipes, oven.times, oven.folder, oven.eggs) == (("x", "y"), (1, 2), Path("/r"), 4)


def test_a_flag_wins_over_a_variable_and_this_over_the_default() -> None:
    environ = {"PAGODA_NAME": "a", "PAGODA_PORT": "1", "PAGODA_TRAYS": "2", "PAGODA_FAN": "false", "PORT": "9"}
    oven = read("--port=3", environ=environ)
    assert (oven.name, oven.port, oven.trays, oven.fan) == ("a", 3, 2, False)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("--name=", "name is empty; give the name on the door"),
        ("--heat=0", "heat is 0.0; give a number above 0 and at most 1"),
        ("--heat=nan", "heat is nan; give a number above 0 and at most 1"),
        ("--heat=hot", "heat is 'hot'; give a number (above 0 and at most 1)"),
        ("--trays=0", "trays is 0; give at least 1"),
        ("--trays=1.5", "trays is '1.5'; give a whole number (at least 1)"),
        ("--port=65536", "port is 65536; give 0 to 65535"),
        ("--mode=fry", "mode is 'fry'; give bake, roast or toast"),
        ("--times=x", "times is 'x'; give a whole number"),
        ("--eggs=3", "eggs: '3' is odd: give an even number"),
    ],
)
def test_a_bad_value_is_refused_with_its_name_and_the_fix(word: str, said: str) -> None:
    with pytest.raises(SettingError) as refused:
        read("--name=a", word)
    assert str(refused.value) == said


def test_a_bad_switch_in_the_environment_is_refused_too() -> None:
    with pytest.raises(SettingError, match="grill is 'yes'; give true or false"):
        read("--name=a", environ={"PAGODA_GRILL": "yes"})


def test_what_code_gives_is_checked_as_a_flag_is() -> None:
    with pytest.raises(SettingError, match="bricks is 0; give at least 1"):
        Oven(name="a", bricks=0)


def test_a_child_is_told_what_is_set_and_every_value_in_one_word() -> None:
    oven = Oven(name="--a b", fan=False, recipes=("x", "y"))
    told = ["--name=--a b", "--heat=0.5", "--port=80", "--no-fan", "--mode=bake", "--recipes=x,y", "--times=5,10"]
    assert build_arguments(oven) == [*told, "--eggs=2"]
    assert build_arguments(oven, {"port", "name"}) == ["--name=--a b", "--port=80"]


def test_help_says_meaning_bounds_default_and_variable(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read("--help", environ={})
    said = " ".join(capsys.readouterr().out.split())
    assert "--heat X how hot, 100 % at most (above 0 and at most 1; default 0.5; PAGODA_HEAT)" in said
    assert "--no-fan without the fan (PAGODA_FAN)" in said
    assert "--mode {bake,roast,toast} what it does (default bake; PAGODA_MODE)" in said
    assert "bricks" not in said and "seen" not in said


def test_a_flag_without_a_default_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read()
    assert "required: --name" in capsys.readouterr().err
