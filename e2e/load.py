"""Streams chats by the official openai client, so many at a time, for so long; run inside the cluster's namespaces.

Prints one JSON object at the end: how many answers came whole, how many failed, and how many chunks there were.
"""

import argparse
import asyncio
import json
import time
from collections import Counter

from openai import AsyncOpenAI, OpenAIError


async def stream_chats(client: AsyncOpenAI, model: str, until: float, seen: Counter[str]) -> None:
    while time.monotonic() < until:
        try:
            stream = await client.chat.completions.create(
                model=model,
                messages=[{"role": "user", "content": "Tell me a long story about a robot and a lamp."}],
                stream=True,
            )
            finished = None
            async for chunk in stream:
                seen["chunks"] += 1
                finished = chunk.choices[0].finish_reason if chunk.choices else finished
            seen["whole" if finished else "cut"] += 1
        except OpenAIError as error:
            seen["failed"] += 1
            seen[f"failed: {error}"[:200]] += 1
            await asyncio.sleep(0.5)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base_url")
    parser.add_argument("--host", help="the Host header, where no DNS knows the name")
    parser.add_argument("--model", required=True)
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=60)
    args = parser.parse_args()
    headers = {"Host": args.host} if args.host else {}
    seen: Counter[str] = Counter(whole=0, cut=0, failed=0, chunks=0)
    until = time.monotonic() + args.seconds
    async with AsyncOpenAI(
        base_url=args.base_url, api_key="none", default_headers=headers, max_retries=0, timeout=120
    ) as client:
        await asyncio.gather(*(stream_chats(client, args.model, until, seen) for _ in range(args.streams)))
    print(json.dumps(seen))


if __name__ == "__main__":
    asyncio.run(main())
