"""The real server around `bench.front.engine`. Arguments: STEP_MS STREAMS VOCAB_SIZE, then the flags of `serve`."""

import asyncio
import sys
from functools import partial

from pagoda_server.__main__ import build_parser
from pagoda_server.process.command_lines import build_front_command, read_server
from pagoda_server.process.supervisor import serve


def main() -> int:
    step_ms, streams, vocab_size, *flags = sys.argv[1:]
    settings = read_server(build_parser().parse_args(["serve", *flags]))
    engine = [sys.executable, "-m", "bench.front.engine", "--socket", str(settings.engine.socket)]
    engine += ["--step-ms", step_ms, "--streams", streams, "--vocab-size", vocab_size]
    return asyncio.run(serve(settings, engine, partial(build_front_command, settings)))


if __name__ == "__main__":
    raise SystemExit(main())
