"""What a panel looks like. A colour that warns is given only with thresholds that someone would act on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
NO_TRAFFIC = "No traffic"
LEGEND_CALCS = ["mean", "lastNotNull", "max"]
SIDE_LEGEND_CALCS = ["lastNotNull", "max"]
"""NB: a legend beside the lines takes its width from them."""
NAN = {"type": "special", "options": {"match": "nan", "result": {"index": 0, "text": NO_TRAFFIC}}}
TOKENS_PER_SECOND = "count:tok/s"
COUNT = "none"
SOFT_MAXIMUM = {COUNT: 1, "short": 1, "ops": 1, "reqps": 1, "percentunit": 0.01, "count:tok": 1}
"""So that nothing but zeros does not look like a hundred."""
Steps = Sequence[tuple[float, str]]
"""From which value on which colour; below the first it is green."""
TTFT_STEPS: Steps = ((2.5, "orange"), (10, "red"))
GAP_STEPS: Steps = ((0.1, "orange"), (0.25, "red"))
FAILED_STEPS: Steps = ((0.001, "orange"), (0.01, "red"))
LOAD_STEPS: Steps = ((0.85, "orange"), (1, "red"))
KV_STEPS: Steps = ((0.9, "orange"), (0.98, "red"))
ANY_IS_WRONG: Steps = ((1, "red"),)
OBJECTIVE_STEPS: Steps = ((0.9, "orange"), (0.99, "green"))
"""NB: of a share that should be high, so below the first it is red."""


@dataclass(frozen=True, slots=True)
class Column:
    title: str
    query: str
    unit: str
    steps: Steps = ()
    width: int = 0
    bar: bool = False


def thresholds(steps: Steps, lowest: str = "green") -> Json:
    made = [{"color": lowest, "value": None}, *({"color": color, "value": value} for value, color in steps)]
    return {"mode": "absolute", "steps": made}


def stat(
    title: str,
    about: str,
    query: str,
    unit: str,
    steps: Steps = (),
    *,
    none: str = "0",
    lowest: str = "",
    legend: str = "",
) -> Json:
    """Returns one number, coloured by `steps` alone; with a `legend`, that in place of the number.

    `none` is what it says without a series.
    """
    made = _panel("stat", title, about, [_target(query, legend)], (3, 4))
    colors = thresholds(steps, lowest or ("green" if steps else "text"))
    defaults = {
        "unit": unit,
        "noValue": none,
        "mappings": [NAN],
        "color": {"mode": "thresholds"},
        "thresholds": colors,
    }
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "value" if steps else "none",
        "graphMode": "none" if legend else "area",
        "justifyMode": "auto",
        "orientation": "auto",
        "textMode": "name" if legend else "value",
    }
    return {**made, "fieldConfig": {"defaults": defaults, "overrides": []}, "options": options}


def graph(
    title: str,
    about: str,
    unit: str,
    queries: Mapping[str, str],
    *,
    size: tuple[int, int] = (12, 9),
    side: bool = False,
    stacked: bool = False,
    maximum: float | None = None,
    steps: Steps = (),
    none: str = NO_TRAFFIC,
    colors: Mapping[str, str] | None = None,
    exemplars: bool = False,
) -> Json:
    """Returns lines over time. With `side` the legend is on the right: where there is a line a model or a pod.

    With `exemplars` the traced requests are dots in it, each a link where the data source has one for `trace_id`.
    """
    more = {"exemplar": True} if exemplars else {}
    targets = [{**_target(query, legend), **more} for legend, query in queries.items()]
    made = _panel("timeseries", title, about, targets, size)
    custom: Json = {"drawStyle": "line", "lineWidth": 1, "fillOpacity": 8, "showPoints": "never"}
    if stacked:  # NB: a line of what is 0 would lie on what is below it
        custom |= {"lineWidth": 0, "fillOpacity": 50, "stacking": {"group": "A", "mode": "normal"}}
    if steps:
        custom["thresholdsStyle"] = {"mode": "dashed"}
    defaults: Json = {
        "unit": unit,
        "noValue": none,
        "min": 0,
        "color": {"mode": "palette-classic"},
        "custom": custom,
        "thresholds": thresholds(steps, "transparent"),
    }
    if maximum is not None:
        defaults["max"] = maximum
    elif unit in SOFT_MAXIMUM:
        custom["axisSoftMax"] = SOFT_MAXIMUM[unit]
    if unit == COUNT:
        defaults["decimals"] = 0
    calcs = SIDE_LEGEND_CALCS if side else LEGEND_CALCS
    legend = {"displayMode": "table", "placement": "right" if side else "bottom", "calcs": calcs}
    options = {"legend": {**legend, "showLegend": True}, "tooltip": {"mode": "multi", "sort": "desc"}}
    overrides = [_override(name, {"color": {"mode": "fixed", "fixedColor": c}}) for name, c in (colors or {}).items()]
    return {**made, "fieldConfig": {"defaults": defaults, "overrides": overrides}, "options": options}


def heatmap(title: str, about: str, unit: str, query: str, *, size: tuple[int, int] = (12, 9)) -> Json:
    """Returns how a histogram's buckets fill over time; `query` gives a series for each `le`."""
    target = {**_target(query, "{{le}}"), "format": "heatmap"}
    made = _panel("heatmap", title, about, [target], size)
    options = {
        "calculate": False,
        "cellGap": 1,
        "color": {"mode": "scheme", "scheme": "Blues", "scale": "exponential", "exponent": 0.5, "steps": 64},
        "filterValues": {"le": 1e-9},
        "rowsFrame": {"layout": "auto"},
        "yAxis": {"axisPlacement": "left", "unit": unit},
        "cellValues": {"unit": "reqps"},
        "legend": {"show": True},
        "tooltip": {"mode": "single", "yHistogram": True, "showColorScale": True},
    }
    return {
        **made,
        "fieldConfig": {"defaults": {"unit": unit, "noValue": NO_TRAFFIC}, "overrides": []},
        "options": options,
    }


def table(
    title: str,
    about: str,
    columns: Sequence[Column],
    *,
    labels: Mapping[str, str],
    link: tuple[str, Json] | None = None,
    overrides: Sequence[Json] = (),
    size: tuple[int, int] = (24, 8),
    ahead: str = "",
) -> Json:
    """Returns a row for each set of `labels`, which are named as given there; `link` is of one of their columns.

    The first column comes ahead of the label that is named so.
    """
    targets = [
        {**_target(column.query, ref=chr(ord("A") + at)), "format": "table", "instant": True, "range": False}
        for at, column in enumerate(columns)
    ]
    made = _panel("table", title, about, targets, size)
    names = {f"Value #{target['refId']}": column.title for target, column in zip(targets, columns, strict=True)}
    columns_in_order = [*labels, *names]
    if ahead:
        columns_in_order.remove("Value #A")
        columns_in_order.insert(list(labels.values()).index(ahead), "Value #A")
    order = {name: at for at, name in enumerate(columns_in_order)}
    organize = {"excludeByName": {"Time": True}, "indexByName": order, "renameByName": {**labels, **names}}
    linked = [_override(link[0], {"links": [link[1]]})] if link else []
    shown = [_override(column.title, _column(column)) for column in columns]
    return {
        **made,
        "transformations": [{"id": "merge", "options": {}}, {"id": "organize", "options": organize}],
        "fieldConfig": {
            "defaults": {"unit": "short", "noValue": "–", "custom": {"align": "auto"}, "mappings": [NAN]},
            "overrides": [*shown, *linked, *overrides],
        },
        "options": {
            "showHeader": True,
            "cellHeight": "sm",
            "footer": {"show": False},
            "sortBy": [],
        },
    }


def mapped(column: str, values: Mapping[str, tuple[str, str]], width: int) -> Json:
    """Returns an override that shows a text in a colour for each value of a column."""
    options = {
        value: {"text": text, "color": color, "index": at} for at, (value, (text, color)) in enumerate(values.items())
    }
    properties: Json = {
        "mappings": [{"type": "value", "options": options}],
        "custom.cellOptions": {"type": "color-text"},
        "custom.width": width,
    }
    return _override(column, properties)


def sized(column: str, width: int) -> Json:
    return _override(column, {"custom.width": width})


def row(title: str, panels: Sequence[Json] = (), *, collapsed: bool = False) -> Json:
    place = {"w": 24, "h": 1, "x": 0, "y": 0}
    return {"type": "row", "title": title, "collapsed": collapsed, "panels": list(panels), "gridPos": place}


def _panel(kind: str, title: str, about: str, targets: list[Json], size: tuple[int, int]) -> Json:
    named = [{**target, "refId": chr(ord("A") + at)} for at, target in enumerate(targets)]
    return {
        "type": kind,
        "title": title,
        "description": about,
        "datasource": DATASOURCE,
        "targets": named,
        "gridPos": {"w": size[0], "h": size[1], "x": 0, "y": 0},
    }


def _target(query: str, legend: str = "", ref: str = "A") -> Json:
    return {"refId": ref, "datasource": DATASOURCE, "expr": query, "legendFormat": legend}


def _override(name: str, properties: Json) -> Json:
    listed = [{"id": key, "value": value} for key, value in properties.items()]
    return {"matcher": {"id": "byName", "options": name}, "properties": listed}


def _column(column: Column) -> Json:
    made: Json = {"unit": column.unit}
    if column.width:
        made["custom.width"] = column.width
    if column.steps:
        made |= {"thresholds": thresholds(column.steps), "color": {"mode": "thresholds"}}
        made["custom.cellOptions"] = {"type": "color-text"}
    if column.bar:
        made |= {"min": 0, "max": 1, "custom.cellOptions": {"type": "gauge", "mode": "basic"}}
    return made
