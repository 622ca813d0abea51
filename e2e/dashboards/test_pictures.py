"""A person looks at the boards and at the tool's screens: each is drawn, and nothing on it is empty without a reason.

`make pictures` keeps the pictures for the documentation, in the folder that PICTURES names. No cluster is needed: the
operator, the servers and Prometheus are real, in the namespaces of the test control plane (`stage.py`).
"""

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from .drawing import View, build, draw, read_scene
from .expressions import DASHBOARDS, walk_panels
from .prometheus import Prometheus
from .screens import SCREENS, Screen, draw_screen, take
from .stage import Stage, open_stage, perform

pytestmark = pytest.mark.full
Object = dict[str, Any]
HOME = Path(os.environ.get("CLUSTER_HOME", Path.home() / ".cache/pagoda-cluster"))
CHOSEN = {"fleet": {}, "model": {"namespace": "chat", "model": "llama"}, "operator": {}}
SCRAPES_SECONDS = 10
MAX_BYTES = 350_000
"""The maximum of a picture: the documentation is read over slow lines, too."""


@dataclass(frozen=True, slots=True)
class Played:
    prometheus: Prometheus
    start: int
    end: int
    screens: dict[str, str]
    """What each command wrote to its terminal."""

    def view(self, board: str) -> View:
        return View(self.start, self.end, CHOSEN[board])


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    prometheus = HOME / "bin" / "prometheus"
    if not prometheus.exists():
        pytest.fail(f"there is no {prometheus}: run e2e/cluster/build.sh pictures")
    build()
    with open_stage(tmp_path_factory.mktemp("stage"), prometheus) as stage:
        start = round(time.time())
        perform(stage)
        end = round(time.time())
        stage.play(SCRAPES_SECONDS)
        yield Played(stage.prometheus, start, end, dict(take_screens(stage)))


def take_screens(stage: Stage) -> Iterator[tuple[str, str]]:
    for screen in SCREENS:
        yield screen.name, take(stage.plane, screen)
        stage.play(1)  # NB: a node that says nothing for long is given up


def read_board(name: str) -> Object:
    board: Object = json.loads((DASHBOARDS / f"{name}.json").read_text(encoding="utf-8"))
    return board


def has_number(answer: Object) -> bool:
    values = [value for one in answer["result"] for _, value in one.get("values", [one.get("value")])]
    return any(value != "NaN" for value in values)


@pytest.mark.parametrize("name", CHOSEN)
def test_no_panel_is_empty(played: Played, name: str) -> None:
    board = read_board(name)
    answers = read_scene(played.prometheus, board, played.view(name))["answers"]
    panels = [panel for panel in walk_panels(board) if panel["type"] != "row" and panel["id"] in answers]
    empty = [panel["title"] for panel in panels if not any(map(has_number, answers[panel["id"]]))]
    assert empty == []


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = Path(os.environ.get("PICTURES") or tmp_path).absolute()
    for kind in ("boards", "tool"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    return folder


@pytest.mark.parametrize("screen", SCREENS, ids=lambda screen: screen.name)
def test_each_screen_of_the_tool_is_drawn(played: Played, screen: Screen, pictures: Path) -> None:
    written = played.screens[screen.name]
    assert screen.shows in written
    assert "rror" not in written and "not shown" not in written, written
    draw_screen(screen, written, pictures / "tool" / f"{screen.name}.svg")


@pytest.mark.parametrize("name", CHOSEN)
def test_each_board_is_drawn(played: Played, name: str, pictures: Path) -> None:
    picture = pictures / "boards" / f"{name}.png"
    draw(played.prometheus, read_board(name), played.view(name), picture)
    assert 20_000 < picture.stat().st_size < MAX_BYTES
