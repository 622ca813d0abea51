"""Conversations that grow: each turn sends all that was said before and a little more, on any OpenAI endpoint.

What an engine keeps of earlier turns decides the time to the first token of a late one. Users take their turns one
after another, each with a conversation of their own; the history holds the very tokens that the engine answered
(`return_token_ids`, which vLLM knows too), so that every engine that keeps them can find them again.
"""

import argparse
import asyncio
import json
import random
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from bench.serving.http_load import Load, add_endpoint_arguments, build_body, open_session, percentile_ms
from bench.work.workload import LARGEST_TOKEN_ID

if TYPE_CHECKING:
    import aiohttp


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat:
    users: int = 64
    turns: int = 8
    first_tokens: int = 512
    """Of a conversation's first prompt."""
    turn_tokens: int = 64
    """Of each later question."""
    answer_tokens: int = 128


@dataclass(slots=True)
class Turn:
    """One answer as its client saw it; times in seconds."""

    number: int
    begin: float
    first_token: float | None = None
    gaps: list[float] = field(default_factory=list)
    token_ids: list[int] = field(default_factory=list)
    cached_tokens: int = 0
    prompt_tokens: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatReport:
    users: int
    turns: int
    failed: int
    first_error: str
    output_tokens_per_second: float
    first_turn_ttft_p50_ms: float
    later_ttft_p50_ms: float
    """Of all turns but the first, as are the next two."""
    later_ttft_p99_ms: float
    gap_p99_ms: float
    cached_share: float
    """Of the later turns' prompt tokens, as the engine counts them."""


async def drive_users(load: Load, chat: Chat) -> list[Turn]:
    async with open_session(load.api_key) as session:
        users = [hold_conversation(session, load, chat, user) for user in range(chat.users)]
        return [turn for turns in await asyncio.gather(*users) for turn in turns]


async def hold_conversation(session: "aiohttp.ClientSession", load: Load, chat: Chat, user: int) -> list[Turn]:
    """Returns the turns of one user; the first that fails is the last."""
    chooser = random.Random(f"{load.seed}-{user}")
    history: list[int] = []
    turns: list[Turn] = []
    for number in range(chat.turns):
        asked = chat.turn_tokens if number else chat.first_tokens
        history += [chooser.randint(2, load.largest_token_id) for _ in range(asked)]
        turn = await take_turn(session, load.url, build_body(load, history) | {"return_token_ids": True}, number)
        turns.append(turn)
        if turn.error:
            break
        history += turn.token_ids
    return turns


async def take_turn(session: "aiohttp.ClientSession", url: str, body: dict[str, Any], number: int) -> Turn:
    """Returns the turn. It is the one boundary: a failure is counted, and the other users go on."""
    turn = Turn(number, time.perf_counter())
    try:
        async with session.post(f"{url.rstrip('/')}/v1/completions", json=body) as response:
            if response.status != 200:
                turn.error = f"{response.status} {(await response.text())[:200]}"
                return turn
            await read_turn(response.content, turn)
    except Exception as error:
        turn.error = repr(error)[:200]
    if not turn.error and len(turn.token_ids) != body["max_tokens"]:
        turn.error = f"{len(turn.token_ids)} token ids instead of {body['max_tokens']}: does it know return_token_ids?"
    return turn


async def read_turn(content: "aiohttp.StreamReader", turn: Turn) -> None:
    last = turn.begin
    async for line in content:
        data = line.removeprefix(b"data:").strip()
        if not line.startswith(b"data:") or data == b"[DONE]":
            continue
        event = json.loads(data)
        if usage := event.get("usage"):
            turn.prompt_tokens = usage["prompt_tokens"]
            turn.cached_tokens = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
        token_ids = [token for choice in event["choices"] for token in choice.get("token_ids") or ()]
        if not token_ids:
            continue
        turn.token_ids += token_ids
        now = time.perf_counter()
        if turn.first_token is None:
            turn.first_token = now - last
        else:
            turn.gaps.append(now - last)
        last = now


def build_report(chat: Chat, turns: Sequence[Turn], seconds: float) -> ChatReport:
    """Raises RuntimeError when no turn succeeded."""
    good = [turn for turn in turns if not turn.error]
    errors = [turn.error for turn in turns if turn.error]
    if not good:
        raise RuntimeError(f"all {len(errors)} first turns failed; the first: {errors[:1]}")
    later = [turn for turn in good if turn.number]
    firsts = [turn.first_token for turn in later if turn.first_token is not None]
    return ChatReport(
        users=chat.users,
        turns=len(turns),
        failed=len(errors),
        first_error=errors[0] if errors else "",
        output_tokens_per_second=round(sum(len(turn.token_ids) for turn in good) / seconds, 1),
        first_turn_ttft_p50_ms=percentile_ms([turn.first_token or 0.0 for turn in good if not turn.number], 50),
        later_ttft_p50_ms=percentile_ms(firsts, 50),
        later_ttft_p99_ms=percentile_ms(firsts, 99),
        gap_p99_ms=percentile_ms([gap for turn in later for gap in turn.gaps], 99),
        cached_share=round(
            sum(turn.cached_tokens for turn in later) / max(1, sum(turn.prompt_tokens for turn in later)), 4
        ),
    )


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench growing-chat", description=__doc__)
    add_endpoint_arguments(parser)
    defaults = Chat()
    for name in ("users", "turns", "first_tokens", "turn_tokens", "answer_tokens"):
        flag = f"--{name.replace('_', '-')}"
        parser.add_argument(flag, type=int, default=getattr(defaults, name), help="(default %(default)s)")
    parser.add_argument("--largest-token-id", type=int, default=LARGEST_TOKEN_ID, help="(default %(default)s)")
    args = parser.parse_args(argv)
    chat = Chat(
        users=args.users,
        turns=args.turns,
        first_tokens=args.first_tokens,
        turn_tokens=args.turn_tokens,
        answer_tokens=args.answer_tokens,
    )
    load = Load(
        url=args.url,
        model=args.model,
        streams=chat.users,
        requests=0,
        tokens_out=chat.answer_tokens,
        seed=args.seed,
        api_key=args.api_key,
        largest_token_id=args.largest_token_id,
    )
    begin = time.perf_counter()
    turns = asyncio.run(drive_users(load, chat))
    print(json.dumps(asdict(build_report(chat, turns, time.perf_counter() - begin))))
    return 0
