"""`pagoda models list|rm|check`: what is kept where, and what can be told of a model before it is fetched."""

import sys
from typing import Annotated, Any

import typer

from pagoda_cli.commands.flags import (
    AllNamespaces,
    Format,
    Output,
    errors_as_exit,
    fail,
    print_data,
    with_cluster_flags,
)
from pagoda_cli.remote.flags import ClusterFlags

app = typer.Typer(help="See which models are kept where, free their space, judge one.", no_args_is_help=True)


@app.command("list")
@with_cluster_flags
def list_(
    claims: Annotated[
        bool, typer.Option("--claims", help="Those in claims of the cluster, instead of this machine's.")
    ] = False,
    all_namespaces: AllNamespaces = False,
    output: Output = Format.TEXT,
    *,
    flags: ClusterFlags,
) -> None:
    """List the models that are shipped with Pagoda and those that `pagoda run` keeps, or those in claims."""
    from pagoda_cli.screens.paint import build_grid, open_console, paint, say_bytes

    if claims:
        rows = _list_claims(flags, all_namespaces)
        columns = ("namespace", "model", "uri", "claim", "size", "phase", "storageClass")
        table = build_grid(*(column.upper() for column in columns))
        for row in rows:
            table.add_row(*(paint(str(row[column])) for column in columns))
    else:
        from pagoda_cli.models import list_models

        found = list_models()
        rows = [
            {
                "uri": model.uri,
                "sizeBytes": model.size_bytes,
                "complete": model.is_complete,
                "shipped": model.is_shipped,
                "folder": str(model.folder),
            }
            for model in found
        ]
        table = build_grid("MODEL", ">SIZE", "WHERE")
        for model in found:
            where = "shipped with pagoda" if model.is_shipped else str(model.folder)
            table.add_row(paint(model.uri), say_bytes(model.size_bytes), paint(where))
    if output is not Format.TEXT:
        print_data({"models": rows}, output)
    elif rows:
        open_console(sys.stdout).print(table)
    else:
        typer.echo("there are none")


def _list_claims(flags: ClusterFlags, all_namespaces: bool) -> list[dict[str, Any]]:
    with errors_as_exit():
        from pagoda_cli.remote.kubeconfig import connect
        from pagoda_cli.remote.observe import CLAIM, list_models

        cluster = connect(flags)
        namespace = "" if all_namespaces else cluster.namespace
        by_key = {(c["metadata"]["namespace"], c["metadata"]["name"]): c for c in cluster.list(CLAIM, namespace)}
        rows = []
        for model in list_models(cluster, namespace):
            meta, spec = model["metadata"], (model.get("spec") or {}).get("model") or {}
            uri, cache = str(spec.get("uri", "")), spec.get("cache") or {}
            name = cache.get("existingClaim") or (f"{meta['name']}-models" if cache.get("pvc") else "")
            name = uri.removeprefix("pvc://").partition("/")[0] if uri.startswith("pvc://") else name
            if name:
                claim = by_key.get((meta["namespace"], name)) or {}
                size = ((claim.get("status") or {}).get("capacity") or {}).get("storage")
                wanted = (((claim.get("spec") or {}).get("resources") or {}).get("requests") or {}).get("storage")
                rows.append(
                    {
                        "namespace": meta["namespace"],
                        "model": meta["name"],
                        "uri": uri,
                        "claim": name,
                        "size": size or wanted or "",
                        "phase": (claim.get("status") or {}).get("phase") or "missing",
                        "storageClass": (claim.get("spec") or {}).get("storageClassName") or "",
                    }
                )
        return rows


def _complete_kept(incomplete: str) -> list[str]:
    from pagoda_cli.models import list_models

    return [model.uri for model in list_models() if not model.is_shipped and model.uri.startswith(incomplete)]


@app.command()
def rm(
    name: Annotated[
        str,
        typer.Argument(metavar="URI", help="As `list` shows it.", autocompletion=_complete_kept, show_default=False),
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Free the space of a model that `pagoda run` keeps on this machine; it is fetched again when it is needed."""
    from difflib import get_close_matches

    from pagoda_cli.models import find_kept, list_models, remove
    from pagoda_cli.screens.paint import say_bytes

    model = find_kept(name)
    if model is None:
        kept = [found.uri for found in list_models() if not found.is_shipped]
        close = get_close_matches(name, kept, n=1)
        raise fail(f"{name}: not kept here: " + (f"did you mean {close[0]}?" if close else f"kept: {kept or 'none'}"))
    size = say_bytes(model.size_bytes)
    if not yes:
        if not sys.stdin.isatty():
            raise fail(f"{model.folder} would be removed ({size}): give --yes")
        typer.confirm(f"Remove {model.uri} ({size}, {model.folder})?", abort=True)
    try:
        remove(model)
    except OSError as error:
        raise fail(f"{model.folder}: cannot be removed: {error}: check its owner") from error
    typer.echo(f"{model.uri}: {size} are free again")


@app.command()
def check(
    uri: Annotated[
        str,
        typer.Argument(metavar="URI", help="hf://org/name@revision, bundled://NAME, file:///path.", show_default=False),
    ],
    output: Output = Format.TEXT,
) -> None:
    """Judge a model without its weights: can it be reached, how large are its files, is its configuration served.

    Exits 1 when it cannot be served. Whether it fits a GPU is told by the server, when it starts.
    """
    from pagoda_cli.fetch.model_uri import FetchError
    from pagoda_cli.models import check_uri
    from pagoda_cli.screens.paint import build_grid, open_console, paint, say_bytes

    try:
        verdict = check_uri(uri)
    except FetchError as error:
        raise fail(str(error)) from error
    except OSError as error:
        raise fail(f"{uri}: cannot be read: {error}") from error
    if output is not Format.TEXT:
        files = [{"name": name, "sizeBytes": size} for name, size in verdict.files]
        found = {"uri": uri, "commit": verdict.commit, "totalBytes": verdict.total_bytes, "files": files}
        print_data({**found, "model": verdict.model, "problem": verdict.problem}, output)
    else:
        table = build_grid("FILE", ">SIZE")
        for name, size in verdict.files:
            table.add_row(paint(name), say_bytes(size))
        open_console(sys.stdout).print(table)
        at = f" at commit {verdict.commit[:12]}" if verdict.commit else ""
        typer.echo(f"{uri}{at}: reachable, {say_bytes(verdict.total_bytes)}")
        typer.echo(f"served: {verdict.model}" if verdict.model else f"not served: {verdict.problem}")
    if not verdict.model:
        raise typer.Exit(1)
