"""The routes of the Responses API and of Anthropic's: they differ in how a body is read, and in the answer's shape."""

from collections.abc import Callable
from functools import partial

from aiohttp import web

from pagoda_server.dialog.turn import Turn
from pagoda_server.http.anthropic.request import PARAMS as MESSAGE_PARAMS
from pagoda_server.http.anthropic.request import read_count
from pagoda_server.http.anthropic.request import read_dialog as read_message
from pagoda_server.http.dialog_answer import Dialog, DialogAnswer
from pagoda_server.http.engine_client import EngineClient
from pagoda_server.http.generate import GenerationPlan, Prompts, plan_generation, weigh_plan
from pagoda_server.http.intake import Intake
from pagoda_server.http.json_answers import build_json
from pagoda_server.http.metrics import ServerMetrics
from pagoda_server.http.responses.request import read_dialog as read_response
from pagoda_server.http.routes import CHECK, COUNT_TOKENS, INPUT_TOKENS, MESSAGES, RESPONSES, find_tenant
from pagoda_server.http.trace import TRACE
from pagoda_server.http.truncation import encode_truncated
from pagoda_server.http.turns import Conversations, Fit, Prompt
from pagoda_server.text.tokenizer import Tokenizer

ReadDialog = Callable[[bytes], Dialog]
Planned = tuple[Dialog, EngineClient, GenerationPlan]


class DialogRoutes:
    def __init__(
        self,
        tokenizer: Tokenizer,
        conversations: Conversations,
        metrics: ServerMetrics,
        intake: Intake,
        *,
        check_model: Callable[[str], None],
        find_engine: Callable[[], EngineClient],
    ) -> None:
        """Both callables raise `RequestError`: for a model that is not here, and where there is no engine yet."""
        self._tokenizer = tokenizer
        self._conversations = conversations
        self._metrics = metrics
        self._intake = intake
        self._check_model = check_model
        self._find_engine = find_engine

    def list_routes(self) -> list[web.RouteDef]:
        routes = [web.post(COUNT_TOKENS, self.count_tokens), web.post(INPUT_TOKENS, self.input_tokens)]
        for path, read in ((RESPONSES, partial(read_response, self._tokenizer)), (MESSAGES, read_message)):
            routes += [web.post(path, partial(self.answer, read)), web.post(CHECK + path, partial(self.check, read))]
        return routes

    async def answer(self, read: ReadDialog, request: web.Request) -> web.StreamResponse:
        dialog, engine, plan = await self._read(request, read)
        answer = DialogAnswer(engine, self._metrics, plan, request[TRACE], dialog.build_shape(plan))
        return await answer.respond(request, dialog.wishes)

    async def check(self, read: ReadDialog, request: web.Request) -> web.Response:
        dialog, engine, plan = await self._read(request, read)
        return build_json(await weigh_plan(dialog.wishes, engine, plan))

    async def count_tokens(self, request: web.Request) -> web.Response:
        return build_json({"input_tokens": await self._intake.read(request, self._count_message)})

    async def input_tokens(self, request: web.Request) -> web.Response:
        count = await self._intake.read(request, self._count_response)
        return build_json({"object": "response.input_tokens", "input_tokens": count})

    async def _read(self, request: web.Request, read: ReadDialog) -> Planned:
        tenant = find_tenant(request)
        return await self._intake.read(request, lambda raw: self._plan(read(raw), tenant))

    def _plan(self, dialog: Dialog, tenant: str) -> Planned:
        self._check_model(dialog.wishes.model)
        engine = self._find_engine()
        prompt = self._encode(dialog, engine.hello.max_model_len)
        prompts = Prompts([prompt.token_ids], dialog.params.messages, tenant, prompt.reading, prompt.grammar)
        return dialog, engine, plan_generation(dialog.wishes, prompts, tokenizer=self._tokenizer, engine=engine.hello)

    def _encode(self, dialog: Dialog, limit: int) -> Prompt:
        def encode(turn: Turn, fit: Fit) -> Prompt:
            return self._conversations.encode(turn, dialog.params, fit, dialog.asked)

        if not dialog.drops_oldest:
            return encode(dialog.turn, Fit(limit))
        return encode_truncated(encode, dialog.turn, answer_tokens=dialog.wishes.max_tokens, limit=limit)

    def _count_message(self, raw: bytes) -> int:
        model, turn = read_count(raw)
        self._check_model(model)
        return len(self._conversations.encode(turn, MESSAGE_PARAMS, Fit()).token_ids)

    def _count_response(self, raw: bytes) -> int:
        dialog = read_response(self._tokenizer, raw)
        self._check_model(dialog.wishes.model)
        return len(self._conversations.encode(dialog.turn, dialog.params, Fit()).token_ids)
