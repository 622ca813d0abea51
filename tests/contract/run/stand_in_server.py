"""A model server without a model: it answers with its served name and its process id, on the flags of the real one.

It has loaded once the file `ready` is in the folder named by STAND_IN, and ends a stream once `release` is there. It
ends at once with the words of the file `crash` or `refuse`.
"""

import argparse
import asyncio
import os
import sys
from pathlib import Path

from aiohttp import web

from pagoda_guard.termination import REFUSED

NAME = web.AppKey("name", str)
LOADED = web.AppKey("loaded", asyncio.Event)
FOLDER = Path(os.environ["STAND_IN"])
LOAD = {
    "tokens_per_second": 0.0,
    "running": 0,
    "waiting": 0,
    "backlog_tokens": 0,
    "capacity_tokens_per_second": None,
    "capacity_source": None,
    "max_num_seqs": 8,
}


async def answer_ready(request: web.Request) -> web.Response:
    if (FOLDER / "ready").exists():
        request.app[LOADED].set()
    return web.Response(status=200 if request.app[LOADED].is_set() else 503)


async def answer_load(request: web.Request) -> web.Response:
    return web.json_response(LOAD)


async def answer(request: web.Request) -> web.Response:
    await request.read()
    return web.json_response({"name": request.app[NAME], "pid": os.getpid()})


async def answer_stream(request: web.Request) -> web.StreamResponse:
    await request.read()
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    await response.write(b"data: begin\n\n")
    while not (FOLDER / "release").exists():
        await asyncio.sleep(0.02)
        await response.write(b"data: on\n\n")
    await response.write(f"data: end of {request.app[NAME]}\n\n".encode())
    return response


def end_if_told() -> None:
    for name, code in (("crash", 1), ("refuse", REFUSED)):
        if (FOLDER / name).exists():
            print((FOLDER / name).read_text(), file=sys.stderr)
            sys.exit(code)


def main() -> None:
    end_if_told()
    parser = argparse.ArgumentParser()
    parser.add_argument("--served-model-name")
    parser.add_argument("--socket")
    flags, _ = parser.parse_known_args()
    app = web.Application()
    app[LOADED] = asyncio.Event()
    app[NAME] = flags.served_model_name
    app.router.add_get("/ready", answer_ready)
    app.router.add_get("/load", answer_load)
    app.router.add_post("/v1/completions", answer)
    app.router.add_post("/v1/chat/completions", answer_stream)
    Path(flags.socket).unlink(missing_ok=True)
    web.run_app(app, path=flags.socket, print=None)


if __name__ == "__main__":
    main()
