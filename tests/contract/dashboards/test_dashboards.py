"""The dashboards as JSON: what a person who opens one may rely on. Their queries are tested in e2e/dashboards."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.dashboards.expressions import VARIABLE, walk_panels
from helm.dashboards.__main__ import BOARDS
from pagoda_server.histograms import ITL_BOUNDS, TTFT_BOUNDS

Object = dict[str, Any]
CHART = Path(__file__).parents[3] / "helm" / "pagoda" / "dashboards"
DASHBOARDS = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(CHART.glob("*.json"))}
GRAFANAS_OWN = {"__all", "__rate_interval", "__range", "__url_time_range", "__value", "__data", "datasource"}
WARNING = {"orange", "red"}
HAVE_EXEMPLARS = {
    "gateway_queue_wait_seconds",
    "server_time_to_first_token_seconds",
    "server_inter_token_latency_seconds",
    "server_e2e_request_latency_seconds",
}
"""Histograms that a board shows and a pod gives exemplars for: docs/how-to/tracing.md."""


def panels(kind: str = "") -> list[Any]:
    found = [
        pytest.param(panel, id=f"{board['title']}: {panel['title']}")
        for board in DASHBOARDS.values()
        for panel in walk_panels(board)
        if panel["type"] != "row" and panel["type"].startswith(kind)
    ]
    assert found
    return found


def colors_at(steps: list[Object], value: float) -> str:
    return str([step["color"] for step in steps if step["value"] is None or step["value"] <= value][-1])


def all_steps(panel: Object) -> Iterator[tuple[str, list[Object]]]:
    """Yields the unit and the thresholds of the panel, and of each of its columns that has some."""
    defaults = panel["fieldConfig"]["defaults"]
    yield defaults["unit"], defaults.get("thresholds", {}).get("steps", [])
    for override in panel["fieldConfig"]["overrides"]:
        told = {one["id"]: one["value"] for one in override["properties"]}
        yield told.get("unit", ""), told.get("thresholds", {}).get("steps", [])


def test_each_board_of_the_chart_is_generated() -> None:
    assert DASHBOARDS.keys() == BOARDS.keys()
    assert {name: build() for name, build in BOARDS.items()} == DASHBOARDS, "run: python -m helm.dashboards"


@pytest.mark.parametrize("board", DASHBOARDS.values(), ids=DASHBOARDS.keys())
def test_boards_share_the_crosshair_the_refresh_and_a_stable_uid(board: Object) -> None:
    assert (board["graphTooltip"], board["refresh"], board["timezone"]) == (1, "30s", "browser")
    assert board["uid"] == "pagoda-" + board["title"].removeprefix("Pagoda / ").lower()


@pytest.mark.parametrize("panel", panels())
def test_each_panel_says_what_it_means_and_in_which_unit(panel: Object) -> None:
    assert len(panel["description"]) >= 8 and panel["description"].endswith(".")
    defaults = panel["fieldConfig"]["defaults"]
    assert defaults["unit"]
    assert defaults["noValue"] and defaults["noValue"] != "No data", "say what it means that there is nothing"


@pytest.mark.parametrize("panel", panels("table"))
def test_each_column_with_a_figure_has_a_unit(panel: Object) -> None:
    with_unit = {
        override["matcher"]["options"]
        for override in panel["fieldConfig"]["overrides"]
        if any(one["id"] == "unit" for one in override["properties"])
    }
    organize = panel["transformations"][1]["options"]
    figures = {organize["renameByName"][f"Value #{target['refId']}"] for target in panel["targets"]}
    assert figures == with_unit


@pytest.mark.parametrize("panel", panels())
def test_tokens_per_second_are_never_a_warning(panel: Object) -> None:
    for unit, steps in all_steps(panel):
        if "tok" in unit:
            assert not WARNING & {step["color"] for step in steps}


def test_a_first_token_after_12_seconds_is_red_on_both_boards_and_one_after_half_a_second_is_not() -> None:
    found = [
        steps
        for board in (DASHBOARDS["fleet"], DASHBOARDS["model"])
        for panel in walk_panels(board)
        if panel["type"] == "stat" and panel["title"].startswith("TTFT p95")
        for _, steps in all_steps(panel)
    ]
    assert len(found) == 2
    assert {(colors_at(steps, 12), colors_at(steps, 0.5)) for steps in found} == {("red", "green")}


@pytest.mark.parametrize("panel", panels("stat"))
def test_a_number_without_thresholds_has_no_color(panel: Object) -> None:
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    assert (panel["options"]["colorMode"] == "none") == (len(steps) == 1)


@pytest.mark.parametrize("panel", panels("stat"))
def test_a_count_of_what_is_wrong_is_0_when_nothing_is(panel: Object) -> None:
    colors = [step["color"] for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]]
    if colors == ["green", "red"]:
        assert all(target["expr"].endswith(" or vector(0)") for target in panel["targets"])


@pytest.mark.parametrize("panel", panels("timeseries"))
def test_a_legend_that_grows_with_models_or_pods_is_beside_the_graph(panel: Object) -> None:
    """Below a graph there is room for three lines; what has more is cut off."""
    legend = panel["options"]["legend"]
    assert legend["displayMode"] == "table"
    lines = [target["legendFormat"] for target in panel["targets"]]
    room = 4 if panel["gridPos"]["h"] >= 10 else 3
    labels = {label for line in lines for label in re.findall(r"{{(\w+)}}", line)}
    grows = bool(labels & {"model_deployment", "verb", "code", "reason", "finished_reason", "phase"})
    assert legend["placement"] == "right" or (len(lines) <= room and not grows)


@pytest.mark.parametrize("panel", panels("timeseries"))
def test_a_legend_beside_the_graph_leaves_it_its_width(panel: Object) -> None:
    legend = panel["options"]["legend"]
    shown = ["lastNotNull", "max"] if legend["placement"] == "right" else ["mean", "lastNotNull", "max"]
    assert legend["calcs"] == shown


@pytest.mark.parametrize("panel", panels("timeseries"))
def test_what_is_zero_draws_no_line_on_what_it_is_stacked_upon(panel: Object) -> None:
    custom = panel["fieldConfig"]["defaults"]["custom"]
    assert custom["lineWidth"] == (0 if "stacking" in custom else 1)


@pytest.mark.parametrize("panel", panels("timeseries"))
def test_a_quantile_shows_exemplars_where_our_pods_have_some(panel: Object) -> None:
    for target in panel["targets"]:
        (name, *_) = [*re.findall(r"histogram_quantile.*pagoda_(\w+)_bucket", target["expr"]), ""]
        assert target.get("exemplar", False) == (name in HAVE_EXEMPLARS)


@pytest.mark.parametrize("board", DASHBOARDS.values(), ids=DASHBOARDS.keys())
def test_panels_fill_their_lines_and_none_lies_on_another(board: Object) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken and place["x"] + place["w"] <= 24
        taken |= cells
    ids = [panel["id"] for panel in walk_panels(board)]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("board", DASHBOARDS.values(), ids=DASHBOARDS.keys())
def test_every_variable_that_is_used_is_there_and_every_one_there_is_used(board: Object) -> None:
    there = {variable["name"] for variable in board["templating"]["list"]}
    used = set(VARIABLE.findall(json.dumps({key: board[key] for key in ("panels", "annotations", "templating")})))
    links = set(re.findall(r"var-(\w+)=", json.dumps(board["panels"])))
    assert used - GRAFANAS_OWN <= there
    assert there - {"datasource"} <= used | links


def test_links_between_boards_name_boards_and_variables_that_are_there() -> None:
    by_uid = {board["uid"]: board for board in DASHBOARDS.values()}
    urls = re.findall(r'"url": "/d/([\w-]+)\?([^"]*)"', json.dumps(list(DASHBOARDS.values())))
    assert urls
    for uid, query in urls:
        there = {variable["name"] for variable in by_uid[uid]["templating"]["list"]}
        assert set(re.findall(r"var-(\w+)=", query)) <= there
    for board in DASHBOARDS.values():
        assert board["links"][0]["asDropdown"] and set(board["links"][0]["tags"]) <= set(board["tags"])


@pytest.mark.parametrize(("name", "bounds"), [("ttft_objective", TTFT_BOUNDS), ("gap_objective", ITL_BOUNDS)])
def test_each_objective_to_choose_is_the_bound_of_a_bucket(name: str, bounds: tuple[float, ...]) -> None:
    (variable,) = (one for one in DASHBOARDS["model"]["templating"]["list"] if one["name"] == name)
    values = [option["value"] for option in variable["options"]]
    assert {float(value) for value in values} <= set(bounds)
    assert [str(float(value)) for value in values] == values, "as Prometheus writes it in `le`"


def test_roll_outs_and_scalings_are_marked_where_a_line_may_jump() -> None:
    names = {name: {one["name"] for one in board["annotations"]["list"]} for name, board in DASHBOARDS.items()}
    assert names["fleet"] == {"Roll-outs", "Scalings"} and names["model"] == {"Roll-outs", "Scalings", "Restarts"}
