"""The command line: flags become one frozen `Settings`, then a role runs.

Nothing else reads flags or the environment. The other roles join here as sub-commands; each imports what it
needs when it runs, so that this process can be told to end from its first moment on.
"""

import argparse
import logging
import resource
import sys
from collections.abc import Sequence

from pagoda_gateway.settings import Settings
from pagoda_guard.flags import add_flags, read_settings
from pagoda_guard.settings import SettingError
from pagoda_guard.termination import end_on_sigterm

log = logging.getLogger(__name__)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pagoda_gateway", description="Pagoda's gateway")
    roles = parser.add_subparsers(dest="role", required=True)
    add_flags(roles.add_parser("sidecar", help="the queue in front of the server of one pod"), Settings)
    return parser


def raise_file_limit() -> None:
    """Two descriptors a stream: the soft limit of many container runtimes, 1024, would be 500 streams."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (ValueError, OSError) as error:
        log.warning("open files stay limited soft=%d hard=%d error=%s", soft, hard, error)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = build_parser()
    flags = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        settings = read_settings(Settings, flags)
    except SettingError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    end_on_sigterm()
    import uvloop

    from pagoda_gateway.sidecar import run_sidecar

    raise_file_limit()
    try:
        uvloop.run(run_sidecar(settings))
    except (OSError, SettingError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")


if __name__ == "__main__":
    main()
