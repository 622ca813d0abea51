"""Clients of one model: chats of many lengths, some with a long prefix in common, some that leave in the middle.

Reads where the model's pods are from a file before each chat, so that it follows them as a Service would.
"""

import argparse
import asyncio
import json
import random
import time
from collections import Counter
from pathlib import Path

from openai import AsyncOpenAI, OpenAIError
from openai.types.chat import ChatCompletionMessageParam

WORDS = (
    "robot",
    "lamp",
    "river",
    "winter",
    "bright",
    "under",
    "harbour",
    "letter",
    "wind",
    "quiet",
    "garden",
    "before",
)
RULES = "You answer in plain words. " * 12
LEAVES_ONE_IN = 12
TOO_LONG_ONE_IN = 40


async def chat(client: AsyncOpenAI, model: str, dice: random.Random) -> str:
    words = 10 ** dice.uniform(0.5, 6.5 if dice.randrange(TOO_LONG_ONE_IN) == 0 else 2.2)
    text = " ".join(dice.choices(WORDS, k=min(round(words), 20_000)))
    rules: list[ChatCompletionMessageParam] = [{"role": "system", "content": RULES}] if dice.random() < 0.6 else []
    said: ChatCompletionMessageParam = {"role": "user", "content": text}
    stream = await client.chat.completions.create(
        model=model, messages=[*rules, said], max_tokens=round(10 ** dice.uniform(0.7, 2.3)), stream=True
    )
    leaves = dice.randrange(LEAVES_ONE_IN) == 0
    async for _ in stream:
        if leaves:
            await stream.close()
            return "left"
    return "whole"


async def one_client(model: str, urls: Path, until: float, seed: int, seen: Counter[str]) -> None:
    dice = random.Random(seed)
    while time.monotonic() < until:
        found = json.loads(urls.read_text())
        if not found:
            await asyncio.sleep(0.5)
            continue
        async with AsyncOpenAI(base_url=dice.choice(found), api_key="none", max_retries=0, timeout=60) as client:
            try:
                seen[await chat(client, model, dice)] += 1
            except OpenAIError as error:
                seen[type(error).__name__] += 1
        await asyncio.sleep(dice.expovariate(3))


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("urls", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--clients", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    args = parser.parse_args()
    seen, until = Counter[str](), time.monotonic() + args.seconds
    clients = (one_client(args.model, args.urls, until, seed, seen) for seed in range(args.clients))
    await asyncio.gather(*clients)
    print(json.dumps(seen))


if __name__ == "__main__":
    asyncio.run(main())
