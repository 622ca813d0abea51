"""Answering the requests of one batch: each waits for its turn, is asked at the server and written to the journal.

Nothing is held of a request that waits but its number, so a batch of any length takes the same memory.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pagoda_gateway.batch.call import Answer, Server, TooLarge, TryAgain, read_tokens
from pagoda_gateway.batch.journal import Done, Journal, Tally
from pagoda_gateway.batch.lines import Index, InputLine, read_line
from pagoda_gateway.batch.metrics import BatchMetrics
from pagoda_gateway.batch.output import build_answer_line, build_error_line, build_request_id
from pagoda_gateway.batch.records import Order, Tokens
from pagoda_gateway.batch.source import Source
from pagoda_gateway.batch.todo import Todo
from pagoda_gateway.batch.turns import Leaving, Turn, Turns
from pagoda_gateway.drain import Drain
from pagoda_gateway.estimate import estimate_request
from pagoda_guard.tasks import begin


class Answering:
    def __init__(
        self,
        order: Order,
        tally: Tally,
        *,
        source: Source,
        index: Index,
        journal: Journal,
        server: Server,
        turns: Turns,
        drain: Drain,
        metrics: BatchMetrics,
        clock: Callable[[], float],
    ) -> None:
        self._order = order
        self._tally = tally
        self._source = source
        self._index = index
        self._journal = journal
        self._server = server
        self._turns = turns
        self._drain = drain
        self._metrics = metrics
        self._clock = clock
        self._todo = Todo(tally)
        self._running: set[asyncio.Task[None]] = set()

    async def run(self) -> bool:
        """Returns True once every request has its line, False when the gateway drains first. Raises StoreError.

        Whatever ends it, no request of it runs any more.
        """
        try:
            await self._ask_all()
        except Leaving:
            while self._running:
                await self._wait_for_one(None)
        finally:
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)
        await self._journal.flush()
        return not self._tally.left

    async def _ask_all(self) -> None:
        while self._tally.left:
            request = self._todo.take(self._clock())
            if request is None:
                await self._wait_for_one(self._todo.due)
                continue
            line = read_line(await self._source.read(self._index, request))
            sequences = estimate_request(self._order.endpoint, bytes(line.body)).sequences
            turn = await self._turns.take(sequences)
            self._running.add(begin(self._answer(request, line, turn)))
            self._raise_failures()

    async def _wait_for_one(self, due: float | None) -> None:
        """Waits until a request is over, or one may be tried again."""
        seconds = None if due is None else max(due - self._clock(), 0.0)
        if self._running:
            await asyncio.wait(self._running, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        else:
            await asyncio.sleep(seconds or 0.0)
        self._raise_failures()

    def _raise_failures(self) -> None:
        for task in [task for task in self._running if task.done()]:
            self._running.discard(task)
            task.result()

    async def _answer(self, request: int, line: InputLine, turn: Turn) -> None:
        with self._drain.hold(), leaving(turn):
            if (done := await self._ask(request, line, turn)) is None:
                return
            self._todo.forget(request)
            self._tally.add(done)
            self._metrics.count_request("completed" if done.succeeded else "failed", done.tokens)
            await self._journal.add(done)

    async def _ask(self, request: int, line: InputLine, turn: Turn) -> Done | None:
        """Returns the request's end, None when it is to be asked again."""
        request_id = build_request_id()
        body = bytes(line.body)
        asking = begin(self._server.ask(self._order.endpoint, body, tenant=self._order.tenant, request_id=request_id))
        recalled = begin(turn.taken_back.wait())
        try:
            await asyncio.wait({asking, recalled}, return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                self._todo.put_back(request, self._clock())
                self._metrics.count_attempt("taken_back")
                return None
            return self._conclude(request, request_id, line, await asking)
        except TryAgain as again:
            return self._try_again(request, request_id, line, again)
        except TooLarge:
            message = "The answer is larger than an answer of a batch may be: lower max_tokens, n or top_logprobs."
            text = build_error_line(request_id, line.custom_id, "answer_too_large", message)
            return Done(request, False, Tokens(), text)
        finally:
            asking.cancel()
            recalled.cancel()
            await asyncio.gather(asking, recalled, return_exceptions=True)

    def _conclude(self, request: int, request_id: str, line: InputLine, answer: Answer) -> Done:
        text = build_answer_line(request_id, line.custom_id, answer)
        return Done(request, 200 <= answer.status < 300, read_tokens(answer.body), text)

    def _try_again(self, request: int, request_id: str, line: InputLine, again: TryAgain) -> Done | None:
        self._metrics.count_attempt("tried_again")
        if not again.is_counted or self._todo.count_attempt(request):
            pause_seconds = max(self._todo.pause_seconds(request), again.pause_seconds)
            self._todo.put_back(request, self._clock() + pause_seconds)
            return None
        if again.answer is not None:
            return self._conclude(request, request_id, line, again.answer)
        message = f"The request was tried again and again: {again}."
        return Done(request, False, Tokens(), build_error_line(request_id, line.custom_id, "server_error", message))


@contextmanager
def leaving(turn: Turn) -> Iterator[None]:
    try:
        yield
    finally:
        turn.leave()
