"""`pagoda validate` and `pagoda version`: what is right before it is applied, and which versions meet."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pagoda_cli.commands.flags import Format, Output, errors_as_exit, fail, print_data, with_cluster_flags
from pagoda_cli.remote.flags import ClusterFlags

if TYPE_CHECKING:
    from pagoda_cli.remote.connection import Cluster

REACH_SECONDS = 3.0


@with_cluster_flags
def validate(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A YAML file; - is standard input.", show_default=False)],
    ask_server: Annotated[
        bool, typer.Option("--ask-server", help="Also let the API server judge it (a dry run: nothing is written).")
    ] = False,
    *,
    flags: ClusterFlags,
) -> None:
    """Check the ModelDeployments and Secrets of a file, and list every error. Exits 1 when there is one."""
    from pagoda_cli.local.spec_file import MAX_FILE_BYTES
    from pagoda_cli.validation import check_content

    try:
        if file == "-":
            content, name = sys.stdin.buffer.read(MAX_FILE_BYTES + 1), "standard input"
        else:
            with Path(file).open("rb") as opened:
                content, name = opened.read(MAX_FILE_BYTES + 1), file
    except (OSError, ValueError) as error:
        raise fail(f"{file}: cannot be read: {error}: give the path of a YAML file") from error
    checked = check_content(content, name)
    errors = list(checked.errors)
    if ask_server:
        with errors_as_exit():
            from pagoda_cli.remote.kubeconfig import connect

            errors += _ask_server(connect(flags), checked.models, name)
    for line in (*checked.skipped, *errors):
        typer.echo(line, err=True)
    if errors:
        raise typer.Exit(1)
    models = "1 ModelDeployment is" if len(checked.models) == 1 else f"{len(checked.models)} ModelDeployments are"
    typer.echo(f"{name}: {models} valid" + (", also to the API server" if ask_server else ""))


def _ask_server(cluster: "Cluster", models: tuple[dict[str, Any], ...], name: str) -> list[str]:
    from pagoda_cli.remote.errors import ClusterError
    from pagoda_operator.kube.kinds import MODEL_DEPLOYMENT

    found = []
    for model in models:
        meta = model["metadata"]
        namespace = str(meta.get("namespace") or cluster.namespace)
        try:
            cluster.dry_run(model, MODEL_DEPLOYMENT, namespace)
        except ClusterError as error:
            if error.status in (0, 401, 403):
                raise
            found.append(f"{name}: {meta['name']}: {error}")
    return found


@with_cluster_flags
def version(
    client: Annotated[bool, typer.Option("--client", help="Only that of this tool.")] = False,
    output: Output = Format.TEXT,
    *,
    flags: ClusterFlags,
) -> None:
    """Print the version of this tool, and that of the operator where a cluster answers."""
    from importlib.metadata import version as read_version

    found: dict[str, str | None] = {"tool": read_version("pagoda")}
    trouble = ""
    if not client:
        found["operator"], trouble = _read_operator_version(flags)
    if output is not Format.TEXT:
        print_data(found, output)
        return
    typer.echo(found["tool"])
    if found.get("operator"):
        typer.echo(f"operator {found['operator']}")
    elif trouble:
        typer.echo(trouble, err=True)


def _read_operator_version(flags: ClusterFlags) -> tuple[str | None, str]:
    """Returns the version, or what kept it from being read; neither where there is no kubeconfig."""
    from dataclasses import replace

    from pagoda_cli.remote.errors import ClusterError
    from pagoda_cli.remote.kubeconfig import connect
    from pagoda_cli.remote.surroundings import observe_surroundings

    limit = min(REACH_SECONDS, flags.request_timeout_seconds)
    try:
        cluster = connect(replace(flags, request_timeout_seconds=limit))
    except ClusterError:
        return None, ""
    try:
        around = observe_surroundings(cluster)
    except ClusterError as error:
        return None, f"operator: not known: {error}"
    if not around.is_installed:
        return None, "operator: not installed in this cluster"
    return around.operator_version, "" if around.operator_version else "operator: no pod of it can be seen"
