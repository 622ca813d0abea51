"""`pagoda bench`: how fast an endpoint answers, measured from here."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pagoda_cli.commands.flags import Format, Output, errors_as_exit, fail, print_data, with_cluster_flags
from pagoda_cli.commands.talk import Key, ModelField, Reached, Url, reach
from pagoda_cli.remote.flags import ClusterFlags

if TYPE_CHECKING:
    from pagoda_cli.load.drive import Load, Progress
    from pagoda_cli.load.measurement import Sample

BUNDLED = "bundled://"
START_SECONDS = 180.0


@with_cluster_flags
def bench(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]",
            help="A ModelDeployment of the cluster, or bundled://pagoda-tiny, which is started here.",
            show_default=False,
        ),
    ] = None,
    url: Url = None,
    key: Key = None,
    model: ModelField = None,
    concurrency: Annotated[int, typer.Option("--concurrency", "-c", help="Requests under way at once.", min=1)] = 8,
    rate: Annotated[
        float | None,
        typer.Option(help="Requests that begin each second instead, whatever the answers do.", min=0.001),
    ] = None,
    duration: Annotated[str, typer.Option(metavar="TIME", help="How long requests begin: 30s, 5m.")] = "30s",
    requests: Annotated[int | None, typer.Option(help="End after so many requests.", min=1)] = None,
    prompt_words: Annotated[int, typer.Option(help="Words of each prompt, which are random.", min=1)] = 64,
    answer_tokens: Annotated[int, typer.Option(help="The most tokens of each answer.", min=1)] = 64,
    ignore_eos: Annotated[
        bool, typer.Option("--ignore-eos", help="Answers of exactly that length (Pagoda and vLLM know this field).")
    ] = False,
    seed: Annotated[int, typer.Option(help="The same prompts again.")] = 1,
    output: Output = Format.TEXT,
    *,
    flags: ClusterFlags,
) -> None:
    """Measure an endpoint under load: tokens/s, time to the first token, gaps, errors; with charts.

    Works on a model of the cluster, on any OpenAI-compatible --url, and on the bundled model without either. Exits 1
    when no request succeeds.
    """
    from pagoda_cli.remote.flags import parse_timeout

    try:
        seconds = parse_timeout(duration)
    except ValueError as error:
        raise fail(f"--duration {duration!r} is no time: give 30s or 5m") from error
    with errors_as_exit(), ExitStack() as opened:
        if name is not None and name.startswith(BUNDLED):
            url = opened.enter_context(_serving(name))
            reached = opened.enter_context(reach(None, url, key, model, flags))
            reached = Reached(reached.endpoint, f"{name}, started on this machine for it, at {url}")
        else:
            reached = opened.enter_context(reach(name, url, key, model, flags))
        from pagoda_cli.load.drive import Load

        load = Load(
            endpoint=reached.endpoint,
            concurrency=concurrency,
            rate=rate,
            seconds=seconds,
            requests=requests,
            prompt_words=prompt_words,
            answer_tokens=answer_tokens,
            ignore_eos=ignore_eos,
            seed=seed,
            find_trouble=reached.find_trouble,
        )
        samples, took = _drive(load, is_shown=output is Format.TEXT and sys.stderr.isatty())
        _print(load, reached, samples, took, output)
    if all(sample.error for sample in samples):
        raise typer.Exit(1)


def _drive(load: "Load", *, is_shown: bool) -> "tuple[list[Sample], float]":
    import asyncio

    from pagoda_cli.load.drive import drive

    def show(progress: "Progress") -> None:
        if is_shown:
            ended, failed = len(progress.samples), sum(bool(sample.error) for sample in progress.samples)
            seconds = time.monotonic() - progress.started
            tokens = sum(sample.output for sample in progress.samples if not sample.error)
            line = f"{seconds:5.1f} s  {progress.running} running  {ended} ended  {failed} failed  {tokens} tokens"
            sys.stderr.write(f"\r\x1b[K{line}")
            sys.stderr.flush()

    async def run() -> "tuple[list[Sample], float]":
        return await drive(load, show)

    try:
        return asyncio.run(run())
    finally:
        if is_shown:
            sys.stderr.write("\r\x1b[K")


def _print(load: "Load", reached: Reached, samples: "list[Sample]", took: float, output: Format) -> None:
    from pagoda_cli.diagnosis.facts import to_data
    from pagoda_cli.load.measurement import compute_figures
    from pagoda_cli.screens.bench import build_bench
    from pagoda_cli.screens.paint import open_console

    figures = compute_figures(samples, took)
    loop = (
        f"closed loop, {load.concurrency} requests at once"
        if load.rate is None
        else f"open loop, {load.rate:g} requests/s at random"
    )
    lengths = f"prompts of {load.prompt_words} words, answers of {load.answer_tokens} tokens at most"
    way = f"from this machine, one process, {reached.way}"
    if output is not Format.TEXT:
        about = {"model": load.endpoint.model, "way": way, "loop": loop, "lengths": lengths, "seed": load.seed}
        print_data({**about, **to_data(figures)}, output)
        return
    unicode = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    about_lines = (f"{load.endpoint.model}: {loop}; {lengths}", f"measured {way}")
    open_console(sys.stdout).print(build_bench(figures, samples, about=about_lines, unicode=unicode), crop=False)


@contextmanager
def _serving(uri: str) -> Iterator[str]:
    """Gives the URL of a bundled model: `pagoda run` serves it in a process of its own while the block is open."""
    from pagoda_cli.local.public_socket import find_free_port

    port = find_free_port()
    with tempfile.TemporaryDirectory(prefix="pagoda-bench-") as folder:
        log = Path(folder) / "log"
        command = [sys.executable, "-m", "pagoda_cli.main", "run", uri, "--port", str(port)]
        typer.echo(f"starting {uri} on this machine", err=True)
        with log.open("wb") as said:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=os.environ)
            try:
                _wait_until_ready(process, port, log)
                yield f"http://127.0.0.1:{port}"
            finally:
                process.terminate()
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def _wait_until_ready(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    from urllib.request import urlopen

    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            lines = log.read_text(errors="replace").strip().splitlines() or ["it said nothing"]
            raise fail(f"the model did not start: {lines[-1]}")
        try:
            with urlopen(f"http://127.0.0.1:{port}/ready", timeout=2) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.3)
    raise fail(f"the model was not ready after {START_SECONDS:.0f} s")
