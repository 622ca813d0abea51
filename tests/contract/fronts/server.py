"""The real supervisor and fronts around an engine without a model.

Arguments: FOLDER (with a tokenizer) FRONTS SETTLED_SECONDS STALE_SECONDS.
"""

import asyncio
import sys
from functools import partial
from pathlib import Path

from pagoda_server.engine.config import EngineConfig
from pagoda_server.process.command_lines import build_front_command
from pagoda_server.process.supervisor import serve
from pagoda_server.settings import Settings

folder, workers, settled, stale = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])
settings = Settings(
    engine=EngineConfig(model=folder, socket=folder / "engine.sock"),
    served_model_name="tiny",
    socket=folder / "server.sock",
    workers=workers,
    stale_seconds=stale,
)
engine = [sys.executable, "-m", "tests.doubles.engine", str(settings.engine.socket)]
raise SystemExit(asyncio.run(serve(settings, engine, partial(build_front_command, settings), settled_seconds=settled)))
