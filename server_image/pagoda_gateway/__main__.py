"""The command line: flags become one frozen `Settings`, then a role runs.

Nothing else reads flags or the environment. The other roles join here as sub-commands.
"""

import argparse
import logging
import resource
import sys
from collections.abc import Sequence
from pathlib import Path

import uvloop

from pagoda_gateway.settings import Address, Settings, parse_hosts, parse_listen
from pagoda_gateway.sidecar import run_sidecar

log = logging.getLogger(__name__)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pagoda_gateway", description="Pagoda's gateway")
    roles = parser.add_subparsers(dest="role", required=True)
    add_sidecar(roles.add_parser("sidecar", help="the queue in front of the server of one pod"))
    return parser


def add_sidecar(role: argparse.ArgumentParser) -> None:
    add = role.add_argument
    add(
        "--listen",
        type=parse_listen,
        default=Address("0.0.0.0", 8000),
        help="public address, default 0.0.0.0:8000; fd://N: an inherited listening socket, shared with other gateways",
    )
    add("--admin", type=Address.parse, default=Address("127.0.0.1", 8001), help="POST /drain, default 127.0.0.1:8001")
    add("--upstream", type=Path, required=True, help="the server's unix socket")
    add("--model-name", required=True)
    add("--namespace", required=True)
    add("--model-deployment", required=True)
    add("--max-queued", type=int, required=True, help="sequences (prompts x n) that may wait")
    add("--max-queued-tokens", type=int, required=True, help="estimated tokens that may wait")
    add("--max-wait-seconds", type=float, required=True, help="the longest wait before a 503")
    add("--backlog-drain-seconds", type=float, required=True, help="demand = served + backlog / this")
    add("--api-keys-dir", type=Path, help="one key a file, the name is the tenant; without it no key is asked")
    add("--max-body-bytes", type=int, default=4 * 1024 * 1024, help="default %(default)s")
    add("--max-body-bytes-total", type=int, default=64 * 1024 * 1024, help="of all at once, default %(default)s")
    add("--body-seconds", type=float, default=60.0, help="to send a body; more if sent steadily, default %(default)s")
    add("--header-seconds", type=float, default=30.0, help="to send a request's head, default %(default)s")
    add("--idle-seconds", type=float, default=75.0, help="a connection without a request, default %(default)s")
    add("--stalled-seconds", type=float, default=60.0, help="a client that takes nothing, default %(default)s")
    add("--max-connections", type=int, default=0, help="0: 16384, or half the open-files limit if less (default)")
    add("--allowed-hosts", type=parse_hosts, help="NAME,NAME: refuse other Host and Origin; without it any is taken")
    add("--max-running", type=int, default=0, help="sequences at the server; 0: its own max_num_seqs (default)")
    add("--ping-seconds", type=float, default=15.0, help="between comments to a stream that waits, default %(default)s")
    add("--drain-grace-seconds", type=float, default=8.0, help="the shortest drain, default %(default)s")


def raise_file_limit() -> None:
    """Two descriptors a stream: the soft limit of many container runtimes, 1024, would be 500 streams."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (ValueError, OSError) as error:
        log.warning("open files stay limited soft=%d hard=%d error=%s", soft, hard, error)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = build_parser()
    flags = vars(parser.parse_args(arguments))
    flags.pop("role")
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        settings = Settings(**flags)
    except ValueError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    raise_file_limit()
    try:
        uvloop.run(run_sidecar(settings))
    except OSError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")


if __name__ == "__main__":
    main()
