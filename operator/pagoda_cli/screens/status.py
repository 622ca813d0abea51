"""The screens of `status`: a table of models, and one model on one screen."""

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from pagoda_cli.diagnosis.causes import Cause
from pagoda_cli.diagnosis.facts import ModelFacts
from pagoda_cli.screens.paint import (
    BAD,
    BOLD,
    DIM,
    GOOD,
    NONE,
    WAITS,
    build_grid,
    paint,
    say_age,
    say_count,
    say_rate,
    state_style,
)

GOOD_FALSE = frozenset({"Progressing", "Stalled", "Reconciling"})
"""Conditions that are well when they are False."""
MOVES = frozenset({"Progressing", "Reconciling"})


def build_overview(models: Sequence[ModelFacts], *, has_namespaces: bool) -> RenderableType:
    """Returns a row for each model."""
    first = ("NAMESPACE", "NAME") if has_namespaces else ("NAME",)
    table = build_grid(*first, "READY", "REASON", ">REPLICAS", ">TOKENS/S", ">USED", ">QUEUE", ">HPA", ">AGE")
    for facts in models:
        names = (facts.namespace, facts.name) if has_namespaces else (facts.name,)
        used = NONE if facts.used_percent is None else f"{facts.used_percent:.0f}%"
        hpa = f"{facts.hpa.minimum}/{facts.hpa.current}/{facts.hpa.maximum}" if facts.hpa else NONE
        table.add_row(
            *(paint(name) for name in names),
            paint(facts.ready, state_style(facts.ready)),
            paint(facts.reason),
            f"{facts.ready_replicas}/{facts.replicas}",
            say_rate(facts.tokens_per_second),
            used,
            say_count(facts.queued),
            hpa,
            say_age(facts.age_seconds),
        )
    unread = dict.fromkeys(line for facts in models for line in facts.unread)
    return Group(table, *_unread(tuple(unread)))


def build_model_screen(facts: ModelFacts, causes: Sequence[Cause]) -> RenderableType:
    """Returns all that matters of one model, and what to do next."""
    parts: list[RenderableType] = [_head(facts), "", _figures(facts), "", _conditions(facts)]
    if facts.pods:
        parts += ["", _pods(facts)]
    if len(facts.revisions) > 1:
        parts += ["", _revisions(facts)]
    if facts.events:
        parts += ["", _events(facts)]
    parts += ["", *_next(facts, causes), *_unread(facts.unread)]
    return Group(*parts)


def _head(facts: ModelFacts) -> RenderableType:
    word = {"True": "ready", "False": "not ready"}.get(facts.ready, "not known")
    line = Text.assemble(
        (f"{facts.namespace}/{facts.name}", BOLD), "  ", (word, state_style(facts.ready)), f"  {facts.reason}"
    )
    return Group(line, *([paint(facts.message, DIM)] if facts.message and facts.ready != "True" else []))


def _figures(facts: ModelFacts) -> RenderableType:
    grid = build_grid("", "", header=False)
    rows = {
        "Model": facts.uri,
        "URL": facts.url,
        "Replicas": f"{facts.ready_replicas} of {facts.replicas} ready" + _revision_word(facts),
        "Load": _load(facts),
        "Queue": _queue(facts),
        "HPA": _hpa(facts),
        "Age": say_age(facts.age_seconds),
    }
    for name, text in rows.items():
        if text:
            grid.add_row(Text(name, style=DIM), paint(text))
    return grid


def _revision_word(facts: ModelFacts) -> str:
    return f", revision {facts.revision}" if facts.revision else ""


def _load(facts: ModelFacts) -> str:
    rate = f"{say_rate(facts.tokens_per_second)} tokens/s" if facts.tokens_per_second is not None else "not known"
    if facts.capacity_tokens_per_second is None:
        return f"{rate}; the capacity has not been measured yet"
    used = f" ({facts.used_percent:.0f}%)" if facts.used_percent is not None else ""
    source = f", {facts.capacity_source}" if facts.capacity_source else ""
    return f"{rate} of {say_rate(facts.capacity_tokens_per_second)}{used}{source}"


def _queue(facts: ModelFacts) -> str:
    if facts.queued is None:
        return "not known: no ready pod tells it" if facts.ready_replicas else ""
    return f"{facts.queued:,} waiting with {facts.queued_tokens or 0:,} tokens, {facts.running or 0:,} running"


def _hpa(facts: ModelFacts) -> str:
    if facts.hpa is None:
        return ""
    hpa = facts.hpa
    wants = f", wants {hpa.desired}" if hpa.desired != hpa.current else ""
    return f"{hpa.minimum} to {hpa.maximum} replicas, now {hpa.current}{wants}"


def _conditions(facts: ModelFacts) -> RenderableType:
    table = build_grid("CONDITION", "STATUS", "REASON", ">SINCE", "MESSAGE")
    said: set[str] = set()
    for c in facts.conditions:
        well = (c.status == "False") if c.type in GOOD_FALSE else (c.status == "True")
        style = GOOD if well else WAITS if c.status == "Unknown" or c.type in MOVES else BAD
        message = "" if c.message in said or (well and c.type != "Ready") else c.message
        said.add(c.message)
        table.add_row(
            paint(c.type), paint(c.status, style), paint(c.reason), say_age(c.age_seconds), Text(message, style=DIM)
        )
    return table if facts.conditions else Text("no conditions yet", style=WAITS)


def _pods(facts: ModelFacts) -> RenderableType:
    table = build_grid("POD", "READY", "STATE", ">RESTARTS", "REVISION", ">QUEUE", ">AGE", "NODE")
    for pod in facts.pods:
        table.add_row(
            paint(pod.name),
            paint("yes", GOOD) if pod.is_ready else paint("no", BAD),
            paint(pod.state),
            str(pod.restarts),
            paint(pod.revision),
            say_count(pod.queued),
            say_age(pod.age_seconds),
            paint(pod.node),
        )
    return table


def _revisions(facts: ModelFacts) -> RenderableType:
    table = build_grid("REVISION", ">NUMBER", ">READY", "")
    for revision in facts.revisions:
        word = "current" if revision.is_current else "old"
        table.add_row(paint(revision.name), str(revision.number), f"{revision.ready}/{revision.replicas}", word)
    return table


def _events(facts: ModelFacts) -> RenderableType:
    table = build_grid(">LAST", "TYPE", "REASON", "ABOUT", "MESSAGE")
    for event in facts.events:
        times = f" (x{event.count})" if event.count > 1 else ""
        style = WAITS if event.type == "Warning" else ""
        table.add_row(
            say_age(event.age_seconds),
            paint(event.type, style),
            paint(event.reason),
            paint(event.about.rpartition("/")[2]),
            paint(event.message + times),
        )
    return table


def _next(facts: ModelFacts, causes: Sequence[Cause]) -> Iterator[RenderableType]:
    if not causes:
        yield Text(f"All is well. Ask it something: pagoda chat {facts.name} -n {facts.namespace}", style=GOOD)
        return
    yield Text("Next", style=BOLD)
    for cause in causes:
        grid = build_grid("", "", header=False)
        style = BAD if cause.is_wrong else WAITS
        grid.add_row(paint(cause.reason, style), paint(cause.steps[0].rstrip(":") if cause.steps else cause.message))
        yield grid
    yield Text(f"More: pagoda why {facts.name} -n {facts.namespace}", style=DIM)


def _unread(lines: Sequence[str]) -> Iterator[RenderableType]:
    for line in lines:
        yield Text(f"not shown: {line}", style=DIM)
