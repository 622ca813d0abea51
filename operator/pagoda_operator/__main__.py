"""`python -m pagoda_operator`: reads the settings, sets up the log, runs until it is told to stop."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Sequence

from pagoda_guard.settings import SettingError
from pagoda_guard.termination import end_on_sigterm
from pagoda_operator.settings import Settings, build_settings

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    end_on_sigterm()
    try:
        settings = build_settings(sys.argv[1:] if argv is None else argv, os.environ)
    except SettingError as error:
        print(f"pagoda operator: {error}", file=sys.stderr)
        return 2
    logging.basicConfig(
        level=settings.log_level.upper(), format="time=%(asctime)s level=%(levelname)s logger=%(name)s %(message)s"
    )
    try:
        asyncio.run(_run(settings))
    except Exception as error:
        log.exception("the operator fails")
        log.critical("the operator ends reason=%s", error or repr(error))
        return 1
    return 0


async def _run(settings: Settings) -> None:
    from pagoda_operator.controller.operator import Operator  # kopf and kubernetes are slow to import: --help is not

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await Operator(settings).run(stop)


if __name__ == "__main__":
    sys.exit(main())
