"""Draws a dashboard as Grafana would show it: our JSON, a real Prometheus, Grafana's own components, Chromium.

`draw/draw.tsx` is what runs in the browser. It needs node, npm and chromium; nothing of it is shipped.
"""

import itertools
import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .expressions import Expression, walk_panels
from .prometheus import Prometheus

Object = dict[str, Any]
DRAW = Path(__file__).parent / "draw"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
WIDTH = 1440
CELL, HEAD = 38, 92
"""NB: as in draw.tsx: they make the height of the picture."""
MAX_POINTS = 240
PAGE = """<!doctype html><html><head><meta charset="utf-8">
<style>body {{ margin: 0; }}
@font-face {{ font-family: Inter; src: local("Liberation Sans"), local("Arial"), local("DejaVu Sans"); }}</style>
<link rel="stylesheet" href="{draw}/build/draw.css"></head>
<body><div id="board"></div><script>var SCENE = {scene}</script>
<script src="{draw}/build/draw.js"></script></body></html>
"""


class NotDrawn(Exception):
    """The browser could not draw the board; the message is its own."""


@dataclass(frozen=True, slots=True)
class View:
    """What a person chose above a board, and the time that they look at."""

    start: int
    """In whole seconds since 1970, as is `end`: Prometheus counts its steps from here."""
    end: int
    values: Mapping[str, str] = field(default_factory=dict)
    """Each variable's value; a variable without one is at All, or at its default."""
    rate_interval: str = "1m"

    @property
    def step(self) -> int:
        return max(5, (self.end - self.start) // MAX_POINTS)

    def fill(self, expression: str) -> str:
        inner = {"__rate_interval": self.rate_interval, "__range": f"{self.end - self.start}s"}
        return Expression("", expression).with_values(**inner, **self.values)


def find_browser() -> str:
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        raise NotDrawn(f"there is no {' or '.join(BROWSERS)} in PATH: install one, as in `apt-get install chromium`")
    return found


def build() -> None:
    """Installs what is pinned, unless it is there, and bundles it."""
    if not (DRAW / "node_modules").exists():
        subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=DRAW, check=True)
    subprocess.run(["npm", "run", "--silent", "build"], cwd=DRAW, check=True)


def draw(prometheus: Prometheus, board: Object, view: View, png: Path) -> None:
    """Writes the picture; `build` must have run. Raises NotDrawn with what the browser says."""
    scene = json.dumps(read_scene(prometheus, board, view)).replace("</", "<\\/")
    page = png.with_suffix(".html")
    page.write_text(PAGE.format(draw=DRAW.as_uri(), scene=scene), encoding="utf-8")
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in board["panels"])
    size = f"--window-size={WIDTH},{HEAD + rows * CELL + 10}"
    options = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--enable-logging=stderr", size)
    profile = f"--user-data-dir={png.with_suffix('.profile')}"
    command = [find_browser(), *options, profile, "--virtual-time-budget=20000", f"--screenshot={png}", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    shutil.rmtree(png.with_suffix(".profile"), ignore_errors=True)
    said = re.findall(r"(?:NOT DRAWN|Uncaught|Error:).*", done.stderr)
    if done.returncode or said or not png.exists():
        raise NotDrawn(f"{board['title']}: exit {done.returncode}: {said[:3] or done.stderr[-500:]}")
    page.unlink()
    subprocess.run(["node", "compress.mjs", png], cwd=DRAW, check=True)


def read_scene(prometheus: Prometheus, board: Object, view: View) -> Object:
    """Asks Prometheus everything that Grafana would ask for this board."""
    answers = {}
    for panel in walk_panels({"panels": [one for one in board["panels"] if not one.get("collapsed")]}):
        targets = panel.get("targets", [])
        answers[panel["id"]] = [_ask(prometheus, view, target) for target in targets]
    return {
        "board": board,
        "from": view.start * 1000,
        "to": view.end * 1000,
        "step": view.step * 1000,
        "answers": answers,
        "events": list(_find_events(prometheus, board, view)),
        "variables": [
            [one["label"], view.values.get(one["name"], one["current"]["text"])]
            for one in board["templating"]["list"]
            if one["name"] != "datasource"
        ],
    }


def _ask(prometheus: Prometheus, view: View, target: Object) -> Any:
    expression = view.fill(target["expr"])
    if target.get("instant"):
        return prometheus.query(expression, view.end)
    return prometheus.query_range(expression, view.start, view.end, view.step)


def _find_events(prometheus: Prometheus, board: Object, view: View) -> Iterator[Object]:
    """Yields the spans in which an annotation's query has a value."""
    for annotation in board["annotations"]["list"]:
        found = prometheus.query_range(view.fill(annotation["expr"]), view.start, view.end, view.step)["result"]
        times = sorted({round(time) for series in found for time, _ in series["values"]})
        for _, group in itertools.groupby(enumerate(times), lambda one: one[1] - one[0] * view.step):
            span = [time for _, time in group]
            yield {"color": annotation["iconColor"], "from": span[0] * 1000, "to": span[-1] * 1000}
