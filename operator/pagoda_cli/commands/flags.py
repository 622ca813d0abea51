"""kubectl's flags for the commands that speak with a cluster: declared once, given to a command as one value.

Only typer is imported: the commands import what they need when they run.
"""

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from pagoda_cli.remote.flags import ClusterFlags, parse_timeout

PANEL = "Cluster (as kubectl's)"


class Format(StrEnum):
    """How a command prints what it found."""

    TEXT = "text"
    JSON = "json"
    YAML = "yaml"


Output = Annotated[Format, typer.Option("--output", "-o", help="text, json or yaml.")]
AllNamespaces = Annotated[bool, typer.Option("--all-namespaces", "-A", help="Of all namespaces.")]


def _option(*names: str, text: str, **more: Any) -> Any:
    return typer.Option(*names, help=text, rich_help_panel=PANEL, show_default=False, **more)


def _complete_context(ctx: typer.Context, incomplete: str) -> list[str]:
    from pagoda_cli.remote.kubeconfig import list_contexts

    return [name for name in list_contexts(ctx.params.get("kubeconfig")) if name.startswith(incomplete)]


def _complete_namespace(ctx: typer.Context, incomplete: str) -> list[str]:
    return _complete(ctx, incomplete, "list_namespaces")


def _complete_model(ctx: typer.Context, incomplete: str) -> list[str]:
    return _complete(ctx, incomplete, "list_model_names")


def _complete(ctx: typer.Context, incomplete: str, what: str) -> list[str]:
    from pagoda_cli.remote import completion

    given = {name: ctx.params.get(name) for name in ("kubeconfig", "context", "namespace", "cluster", "user")}
    return [name for name in completion.complete(what, given) if name.startswith(incomplete)]


ModelName = Annotated[
    str, typer.Argument(metavar="NAME", help="The ModelDeployment.", autocompletion=_complete_model, show_default=False)
]
OptionalName = Annotated[
    str | None,
    typer.Argument(
        metavar="[NAME]",
        help="The ModelDeployment; without it, all of the namespace.",
        autocompletion=_complete_model,
        show_default=False,
    ),
]
NameOrUrl = Annotated[
    str | None,
    typer.Argument(
        metavar="[NAME]", help="The ModelDeployment, or --url.", autocompletion=_complete_model, show_default=False
    ),
]

Text = str | None
_FLAGS: tuple[tuple[str, Any, Any], ...] = (
    (
        "namespace",
        Annotated[
            Text,
            _option(
                "--namespace", "-n", text="Else the context's.", metavar="NAME", autocompletion=_complete_namespace
            ),
        ],
        None,
    ),
    (
        "context",
        Annotated[
            Text,
            _option("--context", text="A context of the kubeconfig.", metavar="NAME", autocompletion=_complete_context),
        ],
        None,
    ),
    (
        "kubeconfig",
        Annotated[Path | None, _option("--kubeconfig", text="Else KUBECONFIG, else ~/.kube/config.", metavar="FILE")],
        None,
    ),
    ("cluster", Annotated[Text, _option("--cluster", text="A cluster of the kubeconfig.", metavar="NAME")], None),
    ("user", Annotated[Text, _option("--user", text="A user of the kubeconfig.", metavar="NAME")], None),
    ("server", Annotated[Text, _option("--server", "-s", text="The API server's address.", metavar="URL")], None),
    ("token", Annotated[Text, _option("--token", text="A bearer token.", metavar="TOKEN")], None),
    ("as_user", Annotated[Text, _option("--as", text="Impersonate a user.", metavar="USER")], None),
    (
        "as_groups",
        Annotated[list[str] | None, _option("--as-group", text="Impersonate groups.", metavar="GROUP")],
        None,
    ),
    (
        "certificate_authority",
        Annotated[
            Path | None, _option("--certificate-authority", text="A file of the API server's CA.", metavar="FILE")
        ],
        None,
    ),
    (
        "insecure_skip_tls_verify",
        Annotated[bool, _option("--insecure-skip-tls-verify", text="Do not check the API server's certificate.")],
        False,
    ),
    (
        "request_timeout",
        Annotated[str, _option("--request-timeout", text="The limit of one request: 5s, 2m.", metavar="TIME")],
        "15s",
    ),
)


def with_cluster_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command kubectl's flags; its keyword `flags` gets them as one ClusterFlags."""
    own = inspect.signature(command, eval_str=True)
    names = [name for name, _, _ in _FLAGS]

    def run(**given: Any) -> None:
        found = {name: given.pop(name) for name in names}
        command(flags=_build_flags(found), **given)

    kept = [p.replace(kind=p.KEYWORD_ONLY) for p in own.parameters.values() if p.name != "flags"]
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, annotation, default in _FLAGS
    ]
    run.__signature__ = inspect.Signature([*kept, *added])  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in (*kept, *added)}
    run.__name__, run.__doc__ = command.__name__, command.__doc__
    return run


def _build_flags(given: dict[str, Any]) -> ClusterFlags:
    try:
        seconds = parse_timeout(given.pop("request_timeout"))
    except ValueError as error:
        raise fail(str(error)) from error
    return ClusterFlags(**{**given, "as_groups": tuple(given["as_groups"] or ())}, request_timeout_seconds=seconds)


def fail(message: str, code: int = 1) -> typer.Exit:
    """Says what is wrong on standard error; raise what it returns."""
    typer.echo(message, err=True)
    return typer.Exit(code)


@contextmanager
def errors_as_exit(code: int = 1) -> Iterator[None]:
    """Makes of a refusing cluster one line and an exit code, never a traceback."""
    from pagoda_cli.remote.errors import ClusterError

    try:
        yield
    except ClusterError as error:
        raise fail(f"error: {error}", code) from error
    except KeyboardInterrupt as stopped:
        raise typer.Exit(130) from stopped


def print_data(data: Any, output: Format) -> None:
    """Prints data as JSON or YAML."""
    if output is Format.YAML:
        import yaml

        yaml.safe_dump(data, sys.stdout, sort_keys=False, allow_unicode=True)
        return
    import json

    json.dump(data, sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")
