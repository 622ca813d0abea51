"""`pagoda chat` and `pagoda logs`: speak with a model, and read what its pods say."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from pagoda_cli.commands.flags import ModelName, NameOrUrl, errors_as_exit, fail, with_cluster_flags
from pagoda_cli.remote.flags import ClusterFlags

if TYPE_CHECKING:
    from pagoda_cli.local.chat import Endpoint
    from pagoda_cli.remote.port_forward import PortForward

PORT = 8000
KEY_VARIABLE = "PAGODA_API_KEY"
Url = Annotated[
    str | None,
    typer.Option(metavar="URL", help="Any OpenAI-compatible endpoint, instead of NAME.", show_default=False),
]
Key = Annotated[
    str | None,
    typer.Option(
        metavar="KEY",
        help="The API key. Without it, the first one of the model's Secret is read, if you may.",
        envvar=KEY_VARIABLE,
        show_default=False,
    ),
]
ModelField = Annotated[
    str | None, typer.Option(metavar="MODEL", help="Else the first that the endpoint lists.", show_default=False)
]


@dataclass(frozen=True, slots=True)
class Reached:
    """An endpoint that answers as long as the block is open, and how it is reached, in words."""

    endpoint: "Endpoint"
    way: str
    forward: "PortForward | None" = None

    def find_trouble(self) -> Exception | None:
        """Returns why the last connection through the port-forward could not be made, if there was such a trouble."""
        return self.forward.trouble if self.forward is not None else None


@contextmanager
def reach(
    name: str | None, url: str | None, key: str | None, model: str | None, flags: ClusterFlags
) -> Iterator[Reached]:
    """Gives the endpoint at --url, or that of a model by a port-forward."""
    from pagoda_cli.local.chat import Endpoint

    if (name is None) == (url is None):
        raise fail("give the NAME of a model, or --url of an endpoint")
    if url is not None:
        base = url.rstrip("/").removesuffix("/v1")
        yield Reached(Endpoint(base, model or _first_model(base, key), key), f"directly at {base}")
        return
    assert name is not None
    from pagoda_cli.remote.api_key import find_api_key
    from pagoda_cli.remote.kubeconfig import connect
    from pagoda_cli.remote.observe import find_model
    from pagoda_cli.remote.port_forward import PortForward, ReadyPods

    cluster = connect(flags)
    mdep = find_model(cluster, name, cluster.namespace)
    found = find_api_key(cluster, mdep, key)
    if found.source:
        typer.echo(found.source, err=True)
    served = model or str((mdep.get("spec") or {}).get("model", {}).get("name") or name)
    pods = ReadyPods(cluster, name, cluster.namespace)
    with PortForward(cluster, pods, cluster.namespace, PORT) as forward:
        way = f"by a port-forward through {cluster.host} to the ready pods of {cluster.namespace}/{name}"
        yield Reached(Endpoint(forward.url, served, found.value), way, forward)


def _first_model(base: str, key: str | None) -> str:
    """Returns the first model that an endpoint lists."""
    import json
    from urllib.error import URLError
    from urllib.request import Request, urlopen

    if not base.startswith(("http://", "https://")):
        raise fail(f"--url {base}: no address: give http://HOST:PORT")
    request = Request(f"{base}/v1/models", headers={"Authorization": f"Bearer {key}"} if key else {})
    try:
        with urlopen(request, timeout=15) as answer:
            return str(json.loads(answer.read(1 << 20))["data"][0]["id"])
    except (OSError, URLError) as error:
        fix = "give --key" if "401" in str(error) else "is it an OpenAI-compatible endpoint?"
        raise fail(f"{base}/v1/models: {error}: {fix}") from error
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise fail(f"{base}/v1/models lists no model: give --model") from error


@with_cluster_flags
def chat(
    name: NameOrUrl = None,
    url: Url = None,
    key: Key = None,
    model: ModelField = None,
    ask: Annotated[str | None, typer.Option(metavar="PROMPT", help="Ask one question and print its answer.")] = None,
    *,
    flags: ClusterFlags,
) -> None:
    """Talk with a model: a prompt, live tokens/s; Ctrl-C stops an answer, Ctrl-D ends.

    A model of the cluster is reached by a port-forward to its ready pods, which needs no Ingress.
    """
    import asyncio

    from pagoda_cli.local.chat import ChatError
    from pagoda_cli.local.chat import ask as ask_once
    from pagoda_cli.local.prompt import converse, open_terminal

    with errors_as_exit(), reach(name, url, key, model, flags) as reached:
        if ask is None:
            typer.echo(f"Chatting with {reached.endpoint.model}. /clear forgets the conversation, Ctrl-D ends.")
            converse(reached.endpoint, open_terminal())
            return
        try:
            asyncio.run(ask_once(reached.endpoint, ask))
        except ChatError as error:
            raise fail(f"error: {reached.find_trouble() or error}") from error


@with_cluster_flags
def logs(
    name: ModelName,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, also of new pods.")] = False,
    previous: Annotated[bool, typer.Option("--previous", "-p", help="Of containers before their restart.")] = False,
    container: Annotated[
        list[str] | None,
        typer.Option(
            "--container", "-c", metavar="NAME", help="fetch, gateway or server; else all.", show_default=False
        ),
    ] = None,
    tail: Annotated[int, typer.Option(metavar="LINES", help="The last lines of each container; -1 is all.")] = 200,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Not older than this: 5m, 1h.", show_default=False)
    ] = None,
    timestamps: Annotated[bool, typer.Option("--timestamps", help="With the time of each line.")] = False,
    *,
    flags: ClusterFlags,
) -> None:
    """Print the logs of all pods of a model: fetch, gateway and server, each line with whose it is."""
    from pagoda_cli.remote.flags import parse_timeout
    from pagoda_cli.remote.log_stream import CONTAINERS, LogQuery, follow_logs, list_pods, read_logs

    if follow and previous:
        raise fail("--previous is what has ended: leave --follow out")
    unknown = [found for found in container or () if found not in CONTAINERS]
    if unknown:
        raise fail(f"--container {unknown[0]}: there is none: choose of {', '.join(CONTAINERS)}")
    try:
        seconds = max(1, round(parse_timeout(since))) if since is not None else None
    except ValueError as error:
        raise fail(f"--since {since!r} is no time: give 5m or 1h") from error
    query = LogQuery(tuple(container or CONTAINERS), previous, timestamps, tail if tail >= 0 else None, seconds)
    with errors_as_exit():
        from pagoda_cli.remote.kubeconfig import connect
        from pagoda_cli.remote.observe import find_model

        cluster = connect(flags)
        find_model(cluster, name, cluster.namespace)
        pods = list_pods(cluster, name, cluster.namespace)
        if not pods and not follow:
            raise fail(f"{name} has no pods: pagoda why {name} -n {cluster.namespace} says why")
        found = (
            follow_logs(cluster, cluster.namespace, name, query)
            if follow
            else read_logs(cluster, cluster.namespace, pods, query)
        )
        _print_lines(found)


def _print_lines(lines: "Iterator[object]") -> None:
    from pagoda_cli.remote.log_stream import LogLine
    from pagoda_cli.screens.log_lines import build_log_line
    from pagoda_cli.screens.paint import open_console

    out, trouble = open_console(sys.stdout), open_console(sys.stderr)
    seen: list[str] = []
    for line in lines:
        assert isinstance(line, LogLine)
        if line.pod not in seen:
            seen.append(line.pod)
        text = build_log_line(line.pod, line.container, line.text, pods=seen, has_prefix=True)
        # NB: rich joins a text that is printed by itself into a new one, which forgets that it is not to be wrapped
        (trouble if line.is_trouble else out).print(text, soft_wrap=True)
