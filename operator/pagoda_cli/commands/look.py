"""`pagoda status` and `pagoda why`: how models are, and what is wrong with them."""

import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pagoda_cli.commands.flags import (
    AllNamespaces,
    Format,
    OptionalName,
    Output,
    errors_as_exit,
    fail,
    print_data,
    with_cluster_flags,
)
from pagoda_cli.remote.flags import ClusterFlags

if TYPE_CHECKING:
    from rich.console import RenderableType

    from pagoda_cli.remote.connection import Cluster

WATCH_SECONDS = 2.0
CLEAR = "\x1b[H\x1b[2J\x1b[3J"


@with_cluster_flags
def status(
    name: OptionalName = None,
    all_namespaces: AllNamespaces = False,
    output: Output = Format.TEXT,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show it again every two seconds.")] = False,
    *,
    flags: ClusterFlags,
) -> None:
    """Show how models are: one line each, or one model on one screen.

    The screen has conditions with their reasons, pods and revisions, tokens/s against capacity, the queue, the HPA, the
    last events and the next step. Exits 0 whatever the state is: `pagoda why` judges.
    """
    if name and all_namespaces:
        raise fail("-A shows all models: give it no NAME")
    if watch and output is not Format.TEXT:
        raise fail("--watch draws text: leave -o out, or ask again by yourself")
    with errors_as_exit():
        from pagoda_cli.remote.kubeconfig import connect

        cluster = connect(flags)
        screen, data = _look(cluster, name, all_namespaces)
        if output is not Format.TEXT:
            print_data(data, output)
            return
        _show(screen, clear=watch and sys.stdout.isatty())
        while watch:
            time.sleep(WATCH_SECONDS)
            _show(_look_again(cluster, name, all_namespaces), clear=sys.stdout.isatty())


def _look(cluster: "Cluster", name: str | None, all_namespaces: bool) -> "tuple[RenderableType, Any]":
    from pagoda_cli.diagnosis.causes import find_causes
    from pagoda_cli.diagnosis.facts import build_facts, to_data
    from pagoda_cli.remote.observe import observe_model, observe_models
    from pagoda_cli.screens.status import build_model_screen, build_overview

    if name is not None:
        seen = observe_model(cluster, name, cluster.namespace)
        facts, causes = build_facts(seen, cluster.now()), find_causes(seen, cluster.now())
        return build_model_screen(facts, causes), {**to_data(facts), "causes": [to_data(cause) for cause in causes]}
    found = observe_models(cluster, "" if all_namespaces else cluster.namespace)
    models = [build_facts(seen, cluster.now()) for seen in found]
    if not models:
        where = "in any namespace" if all_namespaces else f"in namespace {cluster.namespace}"
        return f"There are no models {where}. Make one: kubectl apply -f FILE", {"models": []}
    screen = build_overview(models, has_namespaces=all_namespaces)
    return screen, {"models": [to_data(facts) for facts in models]}


def _look_again(cluster: "Cluster", name: str | None, all_namespaces: bool) -> "RenderableType":
    """Returns the screen, or what keeps it from being made: a watch outlives a cluster that is away for a while."""
    from pagoda_cli.remote.errors import ClusterError

    try:
        return _look(cluster, name, all_namespaces)[0]
    except ClusterError as error:
        return f"error: {error}"


def _show(screen: "RenderableType", *, clear: bool = False) -> None:
    from pagoda_cli.screens.paint import open_console

    if clear:
        sys.stdout.write(CLEAR)
    open_console(sys.stdout).print(screen, crop=False)


@with_cluster_flags
def why(
    name: OptionalName = None,
    all_namespaces: AllNamespaces = False,
    output: Output = Format.TEXT,
    *,
    flags: ClusterFlags,
) -> None:
    """Say what is wrong: the cause, the evidence, the next step, and where to read about it.

    Looks at the operator and the CRD too, at Secrets that the spec names (never into them), and at requests that were
    refused for their key. Exits 0 when nothing is wrong, 1 when something is, 2 when the cluster cannot be asked.
    """
    if name and all_namespaces:
        raise fail("-A looks at all models: give it no NAME", 2)
    with errors_as_exit(2):
        from pagoda_cli.diagnosis.causes import find_causes
        from pagoda_cli.diagnosis.cluster_causes import find_cluster_causes
        from pagoda_cli.diagnosis.facts import to_data
        from pagoda_cli.remote.kubeconfig import connect
        from pagoda_cli.remote.observe import list_models, observe_model
        from pagoda_cli.remote.surroundings import observe_surroundings
        from pagoda_cli.screens.why import build_why

        cluster = connect(flags)
        around = observe_surroundings(cluster)
        causes = list(find_cluster_causes(around, cluster.now()))
        unread: list[str] = []
        names: list[tuple[str, str]] = []
        if around.is_installed:
            models = [] if name else list_models(cluster, "" if all_namespaces else cluster.namespace)
            names = [(m["metadata"]["namespace"], m["metadata"]["name"]) for m in models]
            names = [(cluster.namespace, name)] if name else names
        for namespace, model in names:
            seen = observe_model(cluster, model, namespace, deeply=True)
            causes += find_causes(seen, cluster.now())
            unread += seen.unread
        unread = list(dict.fromkeys(unread))
    if output is Format.TEXT:
        _show(build_why(causes, checked=len(names), unread=unread))
    else:
        print_data({"causes": [to_data(cause) for cause in causes], "checked": len(names), "unread": unread}, output)
    if any(cause.is_wrong for cause in causes):
        raise typer.Exit(1)
