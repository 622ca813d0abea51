"""The real server around `bench.front.engine`. Arguments: STEP_MS STREAMS VOCAB_SIZE, then the flags of `serve`."""

import sys

import uvloop

from pagoda_server.__main__ import build_parser, build_settings
from pagoda_server.http.serve import serve


def main() -> int:
    step_ms, streams, vocab_size, *flags = sys.argv[1:]
    settings = build_settings(build_parser().parse_args(["serve", *flags]))
    engine = [sys.executable, "-m", "bench.front.engine", "--socket", str(settings.engine.socket)]
    engine += ["--step-ms", step_ms, "--streams", streams, "--vocab-size", vocab_size]
    code: int = uvloop.run(serve(settings, engine))
    return code


if __name__ == "__main__":
    raise SystemExit(main())
