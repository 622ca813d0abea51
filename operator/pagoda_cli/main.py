"""`pagoda`, also as `kubectl pagoda`: look at models in a cluster, run one without, fetch one, write the CRDs.

Every command imports what it needs when it runs: `pagoda fetch` is an init container and `--help` must answer at once.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from pagoda_cli.commands import bench, capacity, check, completion, look, models, report, talk

app = typer.Typer(
    name="pagoda",
    help="One YAML in, one OpenAI-compatible endpoint out.",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode="markdown",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(version("pagoda"))
        raise typer.Exit


for command in (look.status, look.why, talk.chat, talk.logs, bench.bench, report.report, check.validate, check.version):
    app.command()(command)
app.add_typer(models.app, name="models")
app.command()(capacity.capacity)
app.command()(completion.completion)


@app.callback()
def start(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and end.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """NB: typer shows the app's help, not this: it is here for --version."""


def _fail(message: str) -> typer.Exit:
    typer.echo(message, err=True)
    return typer.Exit(1)


@app.command()
def fetch(
    uri: Annotated[
        str,
        typer.Argument(
            metavar="URI",
            help="bundled://NAME, hf://org/name@revision, pvc://claim/path or file:///path",
            show_default=False,
        ),
    ],
    dest: Annotated[Path, typer.Argument(metavar="DEST", help="The folder to fill.", show_default=False)],
    configuration: Annotated[
        bool, typer.Option("--configuration", help="Download only what says which model it is.")
    ] = False,
) -> None:
    """Put a model's files into a folder (the init container of every model pod).

    Takes safetensors, JSON, templates and tokenizers, never code and never pickles. Files that are complete are not
    fetched again. HF_TOKEN is sent to the hub, HF_ENDPOINT names another one.
    """
    from pagoda_cli.fetch.model import fetch_model, report_failure
    from pagoda_cli.fetch.model_uri import FetchError
    from pagoda_cli.fetch.progress import open_terminal
    from pagoda_guard.termination import end_on_sigterm

    end_on_sigterm()
    say, say_progress = open_terminal(sys.stdout)
    try:
        fetch_model(uri, dest, say, say_progress, configuration_only=configuration)
    except FetchError as error:
        report_failure(error)
        raise _fail(str(error)) from error
    except OSError as error:
        fix = "check its owner and its free space"
        failure = FetchError("ModelDownloadFailed", f"URI {uri}: cannot write {dest}: {error}: {fix}")
        report_failure(failure)
        raise _fail(str(failure)) from error


@app.command()
def run(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A YAML file with one ModelDeployment (and its Secrets), - for standard input, org/name of Hugging "
            "Face, a folder with a model, or a URI such as bundled://pagoda-tiny.",
            show_default=False,
        ),
    ],
    port: Annotated[int, typer.Option(metavar="PORT", help="Where the endpoint listens.", min=1, max=65535)] = 8000,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="The address it listens on; 0.0.0.0 is every one of this machine.")
    ] = "127.0.0.1",
    chat: Annotated[bool, typer.Option("--chat", help="Open a prompt: live tokens/s; Ctrl-C stops an answer.")] = False,
    ask: Annotated[str | None, typer.Option(metavar="PROMPT", help="Ask one question and print its answer.")] = None,
    once: Annotated[bool, typer.Option("--once", help="Stop after the answer to --ask.")] = False,
    logs: Annotated[bool, typer.Option("--logs", help="Print what the processes log, too.")] = False,
) -> None:
    """Serve a ModelDeployment on this machine, without a cluster.

    Runs the containers of the pod that the operator would build as processes, for each of `replicas`, behind one URL.
    What crashes is started again, later each time; what can never run ends it, before anything is downloaded.

    Saving a file rolls over to the new version without a gap: it loads beside the old one, takes over the port, and the
    old one ends when its last answer has. A model on a GPU loads after the old one has gone; clients are told to come
    again (503 with Retry-After).

    Ctrl-C finishes what runs and stops; a second one stops at once.
    """
    from pagoda_cli.local.plan import PlanError
    from pagoda_cli.local.run import run_source
    from pagoda_cli.local.session import RunOptions
    from pagoda_cli.local.spec_file import SpecFileError

    if chat and ask is not None:
        raise _fail("--chat and --ask exclude each other: give one")
    if once and ask is None:
        raise _fail("--once: there is nothing to wait for: give --ask too")
    if chat and source == "-":
        raise _fail("--chat: standard input is the file: save it, and give its path")
    try:
        code = run_source(source, RunOptions(port=port, host=host, chat=chat, ask=ask, once=once, logs=logs))
    except (SpecFileError, PlanError) as error:
        raise _fail(str(error)) from error
    raise typer.Exit(code)


@app.command()
def crds(
    out: Annotated[Path, typer.Option(help="The folder for the CRD files.")] = Path("crds"),
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit 1 when the files differ.")] = False,
) -> None:
    """Write the CustomResourceDefinitions generated from the API models."""
    from pagoda_cli.crds import check_crds, write_crds
    from pagoda_operator.api.crd import FILE_NAME

    if not check:
        typer.echo(f"wrote {write_crds(out)}")
    elif not check_crds(out):
        raise _fail(f"{out / FILE_NAME}: not as generated: run `pagoda crds --out {out}`")


@app.command(context_settings={"ignore_unknown_options": True}, add_help_option=False)
def operator(
    arguments: Annotated[list[str] | None, typer.Argument(metavar="FLAG...", show_default=False)] = None,
) -> None:
    """Run the operator (in a cluster, or here with a kubeconfig); `pagoda operator --help` lists its settings."""
    import os

    os.execv(sys.executable, [sys.executable, "-m", "pagoda_operator", *(arguments or [])])


def complete_for_kubectl() -> None:
    """Prints what may follow: the program `kubectl_complete-pagoda`, which kubectl calls to complete its plugin."""
    print(completion.complete_for_kubectl(app, sys.argv[1:]))


if __name__ == "__main__":
    app()
