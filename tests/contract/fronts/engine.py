"""An engine as its own process: each answer's first token at once, the rest after SIGUSR1. Argument: its socket."""

import asyncio
import contextlib
import signal
import sys

from pagoda_server.wire import Abort, Delta, Deltas, Hello, Stats, Submit, decode_to_engine, encode_frame, read_frame

STATS = Stats(True, 1, 2, 30, 100.0, 250.0, "observed", 5, 3, 10, 4, 50, 20, 60, 70)


async def main(path: str) -> None:
    gate = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, gate.set)

    async def finish(submit: Submit, writer: asyncio.StreamWriter) -> None:
        await gate.wait()
        rest = [65] * (submit.sampling.max_tokens - 1)
        writer.write(encode_frame(Deltas([Delta(submit.request_id, rest, None, "length")])))

    async def tell(writer: asyncio.StreamWriter) -> None:
        while True:
            await asyncio.sleep(0.5)
            writer.write(encode_frame(STATS))

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(encode_frame(Hello(200, 8, 300, [0], "cpu", "float32")) + encode_frame(STATS))
        tasks = [asyncio.create_task(tell(writer))]
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                message = decode_to_engine(await read_frame(reader))
                if isinstance(message, Abort):
                    continue
                writer.write(encode_frame(Deltas([Delta(message.request_id, [65])])))
                tasks.append(asyncio.create_task(finish(message, writer)))

    async with await asyncio.start_unix_server(handle, path) as server:
        await server.serve_forever()


asyncio.run(main(sys.argv[1]))
