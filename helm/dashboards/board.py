"""A board: its variables, annotations, links, and where its panels lie."""

from collections.abc import Sequence

from helm.dashboards.panels import DATASOURCE, Json
from helm.dashboards.queries import CHOSEN, model

WIDTH = 24
DOCS = "https://github.com/pagoda-dev/pagoda/blob/main/docs/how-to/monitoring.md"
MODELS = "pagoda_model_replicas"
NAMESPACE = ("namespace", "Namespace", f"label_values({MODELS}, namespace)")
MODEL = ("model", "Model", f'label_values({MODELS}{{namespace=~"$namespace"}}, model_deployment)')
POD = ("pod", "Pod", f"label_values(pagoda_gateway_server_up{{{CHOSEN}}}, pod)")


def chosen(name: str, label: str, query: str) -> Json:
    """Returns a variable whose values Prometheus knows; at first all of them."""
    made: Json = {"name": name, "label": label, "type": "query", "datasource": DATASOURCE}
    everything = {"text": "All", "value": "$__all"}
    made |= {"query": {"query": query, "refId": name}, "definition": query, "refresh": 2, "sort": 1}
    return {**made, "includeAll": True, "multi": True, "allValue": ".*", "current": everything}


def objective(name: str, label: str, seconds: Sequence[str], default: str) -> Json:
    """Returns a variable of times to choose from. Each is the bound of a bucket, as Prometheus writes it in `le`."""
    options = [{"text": f"{one} s", "value": one, "selected": one == default} for one in seconds]
    query = ", ".join(f"{option['text']} : {option['value']}" for option in options)
    current = {"text": f"{default} s", "value": default}
    return {"name": name, "label": label, "type": "custom", "query": query, "options": options, "current": current}


def annotation(name: str, color: str, query: str, title: str) -> Json:
    return {
        "name": name,
        "datasource": DATASOURCE,
        "enable": True,
        "iconColor": color,
        "expr": query,
        "step": "30s",
        "titleFormat": title,
        "textFormat": "{{namespace}}/{{model_deployment}}",
        "useValueForTime": False,
    }


def events(*, restarts: bool = True) -> list[Json]:
    """Returns what explains a jump of a line: roll-outs, scalings, and on a model's board restarts."""
    under_way = model("condition", f'{CHOSEN},type="Progressing"')
    rollout = f"({under_way} == 1) and {model('ready')} == 1"  # NB: one that never got ready is under way for ever
    scaled = "max by (namespace, model_deployment) (changes(pagoda_model_replicas{" + CHOSEN + "}[1m])) > 0"
    shown = [
        annotation("Roll-outs", "purple", rollout, "Roll-out under way"),
        annotation("Scalings", "blue", scaled, "The number of pods changed"),
    ]
    if restarts:
        by = "namespace, model_deployment, pod"
        started = f"max by ({by}) (changes(pagoda_server_start_time_seconds{{{CHOSEN}}}[1m])) > 0"
        shown.append(annotation("Restarts", "red", started, "{{pod}}: the engine started anew"))
    return shown


def place(panels: list[Json]) -> list[Json]:
    """Lays the panels out from left to right, a new line when the width is used up; a row has its own line."""
    x = y = line_height = 0
    number = 0
    for item in panels:
        size = item["gridPos"]
        if x + size["w"] > WIDTH:
            x, y, line_height = 0, y + line_height, 0
        size["x"], size["y"] = x, y
        x, line_height = x + size["w"], max(line_height, size["h"])
        number += 1
        item["id"] = number
        if item.get("panels"):
            place(item["panels"])
            for inner in item["panels"]:
                number += 1
                inner["id"], inner["gridPos"]["y"] = number, inner["gridPos"]["y"] + y + 1
    return panels


def dashboard(
    uid: str, title: str, about: str, panels: list[Json], *, variables: list[Json], annotations: list[Json]
) -> Json:
    source = {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"}
    boards = {"type": "dashboards", "title": "Pagoda", "tags": ["pagoda"], "asDropdown": True, "keepTime": True}
    docs = {"type": "link", "title": "What the figures mean", "url": DOCS, "targetBlank": True, "icon": "doc"}
    return {
        "uid": uid,
        "title": title,
        "description": about,
        "tags": ["pagoda"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "timezone": "browser",
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "links": [{**boards, "includeVars": True}, docs],
        "annotations": {"list": annotations},
        "templating": {"list": [source, *variables]},
        "panels": place(panels),
    }
