"""`pagoda report`: a support bundle that may be given away."""

from pathlib import Path
from typing import Annotated

import typer

from pagoda_cli.commands.flags import AllNamespaces, OptionalName, errors_as_exit, fail, with_cluster_flags
from pagoda_cli.remote.flags import ClusterFlags


@with_cluster_flags
def report(
    name: OptionalName = None,
    all_namespaces: AllNamespaces = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Else pagoda-report-TIME.tar.gz, here.", show_default=False),
    ] = None,
    *,
    flags: ClusterFlags,
) -> None:
    """Gather a support bundle: a tar.gz without secrets.

    Secrets and ConfigMaps are never read; what looks like a secret elsewhere is taken out.
    """
    if name and all_namespaces:
        raise fail("-A gathers all models: give it no NAME")
    with errors_as_exit():
        from importlib.metadata import version

        from pagoda_cli.bundle.archive import Archive
        from pagoda_cli.bundle.collect import Collector, build_readme
        from pagoda_cli.remote.kubeconfig import connect
        from pagoda_cli.remote.observe import list_models
        from pagoda_cli.remote.surroundings import observe_surroundings
        from pagoda_cli.screens.paint import say_bytes

        cluster = connect(flags)
        around = observe_surroundings(cluster)
        at, tool = cluster.now(), version("pagoda")
        root = f"pagoda-report-{at:%Y%m%dT%H%M%SZ}"
        path = out or Path(f"{root}.tar.gz")
        if path.exists():
            raise fail(f"--out {path}: there is one already: give another path")
        archive = Archive(root, at)
        collector = Collector(cluster, archive, lambda what: typer.echo(f"reading: {what}", err=True))
        collector.add_versions(tool, around)
        if around.is_installed:
            namespace = "" if all_namespaces else cluster.namespace
            models = [] if name else list_models(cluster, namespace)
            names = [(m["metadata"]["name"], m["metadata"]["namespace"]) for m in models]
            for model, where in [(name, cluster.namespace)] if name else names:
                collector.add_model(model, where)
        collector.add_operator(around)
        collector.add_nodes()
        archive.add_text("README.txt", build_readme(tool, at.isoformat(), collector.unread))
        try:
            size = archive.write(path)
        except OSError as error:
            raise fail(f"--out {path}: cannot be written: {error}: give another path") from error
    typer.echo(f"{path}: {len(archive.names)} files, {say_bytes(size)}")
    for line in dict.fromkeys(collector.unread):
        typer.echo(f"not in it: {line}", err=True)
