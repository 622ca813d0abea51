"""The routes, and the one place where an error becomes an answer."""

import time
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from typing import TypeVar

from aiohttp import web

from pagoda_guard import openmetrics
from pagoda_server.http import chat, completions
from pagoda_server.http.answer import Answer
from pagoda_server.http.chunks import Dialect
from pagoda_server.http.dialog_routes import DialogRoutes
from pagoda_server.http.engine_client import EngineClient
from pagoda_server.http.errors import RequestError, error_response, model_not_found
from pagoda_server.http.extras import Extras
from pagoda_server.http.generate import GenerationPlan, Prompts, plan_generation, weigh_plan
from pagoda_server.http.intake import Intake
from pagoda_server.http.json_answers import build_json, build_written
from pagoda_server.http.metrics import ServerMetrics
from pagoda_server.http.model_labels import ModelLabels
from pagoda_server.http.openapi import build_document
from pagoda_server.http.request_id import note_request_id, return_request_id
from pagoda_server.http.routes import CHECK, describe_http_error, find_tenant, is_anthropic
from pagoda_server.http.runner import log_failure
from pagoda_server.http.schemas import ChatRequest, CompletionRequest, GenerationRequest, parse
from pagoda_server.http.tally import Tally
from pagoda_server.http.token_fields import plan_truncation
from pagoda_server.http.tokenizing import DetokenizeRequest, TokenizeRequest, detokenize, tokenize
from pagoda_server.http.trace import TRACE, UNTRACED, Trace
from pagoda_server.http.turn_grammars import build_form_grammar
from pagoda_server.http.turns import Conversations, Fit
from pagoda_server.settings import Settings
from pagoda_server.text.tokenizer import Tokenizer
from pagoda_server.wire import Hello, Stats

Planned = TypeVar("Planned")
Body = TypeVar("Body", bound=GenerationRequest)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class HttpApi:
    """The state behind the routes. `engine` is None until the engine's socket answers."""

    def __init__(self, settings: Settings, tokenizer: Tokenizer, tally: Tally | None = None) -> None:
        self.settings = settings
        self.tokenizer = tokenizer
        self.engine: EngineClient | None = None
        labels = ModelLabels(settings.served_model_name, settings.namespace, settings.model_deployment)
        self.tally = tally or Tally.build_single()
        self.metrics = ServerMetrics(labels, lambda: self.stats, self.tally, lambda: self.hello)
        self.conversations = Conversations(
            tokenizer, tool_parser=settings.tool_parser, reasoning_parser=settings.reasoning_parser
        )
        self.intake = Intake()
        self.dialogs = DialogRoutes(
            tokenizer,
            self.conversations,
            self.metrics,
            self.intake,
            check_model=self._check_model,
            find_engine=self._ready_engine,
        )
        self.begin_trace: Callable[[web.Request], Trace] | None = None
        """None: nothing is traced."""
        self.in_flight = 0
        self.draining = False
        self._created = int(time.time())

    @property
    def stats(self) -> Stats | None:
        return self.engine.stats if self.engine is not None else None

    @property
    def hello(self) -> Hello | None:
        return self.engine.hello if self.engine is not None else None

    @property
    def healthy(self) -> bool:
        engine = self.engine
        return engine is not None and engine.alive and engine.stats_age_seconds < self.settings.stats_stale_seconds

    def build_app(self) -> web.Application:
        app = web.Application(client_max_size=self.settings.max_body_bytes, middlewares=[self._boundary])
        app.router.add_get("/v1/models", self.models)
        app.router.add_get("/v1/models/{name:.+}", self.model)
        app.router.add_post("/v1/chat/completions", self.chat)
        app.router.add_post("/v1/completions", self.completions)
        app.router.add_post(f"{CHECK}/v1/chat/completions", self.check_chat)
        app.router.add_post(f"{CHECK}/v1/completions", self.check_completions)
        app.router.add_routes(self.dialogs.list_routes())
        app.router.add_post("/tokenize", self.tokenize)
        app.router.add_post("/detokenize", self.detokenize)
        app.router.add_post("/ping", self.health)
        for path, handler in (("/health", self.health), ("/ping", self.health), ("/ready", self.ready)):
            app.router.add_get(path, handler)
        app.router.add_get("/version", self.show_version)
        app.router.add_get("/openapi.json", self.show_openapi)
        app.router.add_get("/metrics", self.show_metrics)
        app.router.add_get("/load", self.load)
        app.on_response_prepare.append(return_request_id)
        app.on_cleanup.append(self._close)
        return app

    async def chat(self, request: web.Request) -> web.StreamResponse:
        body, engine, plan = await self._read(request, self._plan_chat)
        dialect = chat.build_dialect(
            self.tokenizer,
            body.model,
            logprobs=bool(body.logprobs),
            as_ids=bool(body.return_tokens_as_token_ids),
            answer_id=body.request_id,
            style=chat.build_style(body),
        )
        return await self._answer(request, body, engine, plan, dialect, Extras.find(body, in_choice=False))

    async def completions(self, request: web.Request) -> web.StreamResponse:
        body, engine, plan = await self._read(request, self._plan_completion)
        dialect = completions.build_dialect(
            self.tokenizer,
            body.model,
            logprobs=body.logprobs,
            as_ids=bool(body.return_tokens_as_token_ids),
            answer_id=body.request_id,
        )
        return await self._answer(request, body, engine, plan, dialect, Extras.find(body, in_choice=True))

    async def _answer(
        self,
        request: web.Request,
        body: GenerationRequest,
        engine: EngineClient,
        plan: GenerationPlan,
        dialect: Dialect,
        extras: Extras,
    ) -> web.StreamResponse:
        answer = Answer(engine, self.metrics, plan, dialect, extras, request[TRACE], self.intake, self.tokenizer)
        return await answer.respond(request, body)

    async def check_chat(self, request: web.Request) -> web.Response:
        return build_json(await weigh_plan(*await self._read(request, self._plan_chat)))

    async def check_completions(self, request: web.Request) -> web.Response:
        return build_json(await weigh_plan(*await self._read(request, self._plan_completion)))

    async def tokenize(self, request: web.Request) -> web.Response:
        return build_written(await self.intake.read(request, self._tokenize))

    async def detokenize(self, request: web.Request) -> web.Response:
        return build_written(await self.intake.read(request, self._detokenize))

    async def show_version(self, request: web.Request) -> web.Response:
        return build_json({"version": version("pagoda")})

    async def show_openapi(self, request: web.Request) -> web.Response:
        return build_written(await self.intake.run(build_document, is_heavy=True))

    async def models(self, request: web.Request) -> web.Response:
        return build_json({"object": "list", "data": [self._model_object()]})

    async def model(self, request: web.Request) -> web.Response:
        self._check_model(request.match_info["name"])
        return build_json(self._model_object())

    async def health(self, request: web.Request) -> web.Response:
        return build_json({"healthy": self.healthy}, status=200 if self.healthy else 503)

    async def ready(self, request: web.Request) -> web.Response:
        stats_ready = self.stats is not None and self.stats.ready
        ready = self.healthy and stats_ready and self.tally.others_have_engine and not self.draining
        return build_json({"ready": ready}, status=200 if ready else 503)

    async def show_metrics(self, request: web.Request) -> web.Response:
        in_openmetrics = openmetrics.wants_openmetrics(request.headers.get("Accept", ""))
        kind = openmetrics.name_content_type(in_openmetrics=in_openmetrics)
        return web.Response(body=self.metrics.render(in_openmetrics=in_openmetrics), headers={"Content-Type": kind})

    async def load(self, request: web.Request) -> web.Response:
        stats, engine = self.stats, self.engine
        if stats is None or engine is None or not self.healthy:
            raise RequestError("the engine's figures are missing or stale", status=503, code="not_ready")
        return build_json(
            {
                "tokens_per_second": stats.tokens_per_second,
                "running": stats.running,
                "waiting": stats.waiting,
                "backlog_tokens": stats.backlog_tokens,
                "capacity_tokens_per_second": stats.capacity_tokens_per_second,
                "capacity_source": stats.capacity_source,
                "max_num_seqs": engine.hello.max_num_seqs,
            }
        )

    async def _read(self, request: web.Request, plan: Callable[[bytes, str], Planned]) -> Planned:
        tenant = find_tenant(request)
        return await self.intake.read(request, lambda raw: plan(raw, tenant))

    def _plan_chat(self, raw: bytes, tenant: str) -> tuple[ChatRequest, EngineClient, GenerationPlan]:
        body, engine = self._parse(ChatRequest, raw)
        limit = engine.hello.max_model_len
        keep_last = plan_truncation(body.truncate_prompt_tokens, answer_tokens=body.max_answer_tokens, limit=limit)
        params = chat.OLD_PARAMS if body.has_old_spelling else chat.PARAMS
        fit = Fit(limit, keep_last, add_special_tokens=body.form.add_special_tokens)
        prompt = self.conversations.encode(chat.build_turn(body), params, fit, body.answer_form)
        echoes = [body.messages[-1].text] if body.echo else []
        prompts = Prompts([prompt.token_ids], params.messages, tenant, prompt.reading, prompt.grammar, echoes=echoes)
        return body, engine, plan_generation(body, prompts, tokenizer=self.tokenizer, engine=engine.hello)

    def _plan_completion(self, raw: bytes, tenant: str) -> tuple[CompletionRequest, EngineClient, GenerationPlan]:
        body, engine = self._parse(CompletionRequest, raw)
        hello = engine.hello
        prompted = completions.encode_prompts(self.tokenizer, body, hello.vocab_size, limit=hello.max_model_len)
        prompts = Prompts(
            prompted.token_ids,
            "prompt",
            tenant,
            grammar=build_form_grammar(body.answer_form),
            default_answer_tokens=completions.DEFAULT_MAX_TOKENS,
            echoes=prompted.texts,
            scores_echo=bool(body.echo) and body.logprobs is not None,
        )
        return body, engine, plan_generation(body, prompts, tokenizer=self.tokenizer, engine=hello)

    def _parse(self, kind: type[Body], raw: bytes) -> tuple[Body, EngineClient]:
        body = parse(kind, raw)
        self._check_model(body.model)
        return body, self._ready_engine()

    def _tokenize(self, raw: bytes) -> bytes:
        body = parse(TokenizeRequest, raw)
        self._check_model(body.model)
        limit = None if self.hello is None else self.hello.max_model_len
        return tokenize(self.tokenizer, self.conversations, body, max_model_len=limit)

    def _detokenize(self, raw: bytes) -> bytes:
        body = parse(DetokenizeRequest, raw)
        self._check_model(body.model)
        return detokenize(self.tokenizer, body, vocab_size=0 if self.hello is None else self.hello.vocab_size)

    def _model_object(self) -> dict[str, object]:
        name = self.settings.served_model_name
        return {
            "id": name,
            "object": "model",
            "created": self._created,
            "owned_by": "pagoda",
            "root": name,
            "parent": None,
            "max_model_len": None if self.hello is None else self.hello.max_model_len,
        }

    def _check_model(self, name: str | None) -> None:
        """Raises `RequestError` for another model's name; None: the one that is here."""
        if name is not None and name != self.settings.served_model_name:
            raise model_not_found(name, self.settings.served_model_name)

    def _ready_engine(self) -> EngineClient:
        if self.engine is None or not self.engine.alive or self.draining:
            raise RequestError("the model is not ready; try again", status=503, code="not_ready")
        return self.engine

    async def _close(self, app: web.Application) -> None:
        self.intake.close()

    @web.middleware
    async def _boundary(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self.in_flight += 1
        request[TRACE] = trace = UNTRACED if self.begin_trace is None else self.begin_trace(request)
        response: web.StreamResponse | None = None
        try:
            response = await handler(request)
        except ConnectionResetError:
            raise
        except Exception as error:
            described = self._describe(request, error)
            trace.fail(described.code or "invalid_request", described.status)
            response = error_response(described, for_anthropic=is_anthropic(request.path))
        finally:
            self.in_flight -= 1
            trace.end(None if response is None else response.status)
        return response

    def _describe(self, request: web.Request, error: Exception) -> RequestError:
        match error:
            case RequestError():
                return error
            case web.HTTPRequestEntityTooLarge():
                limit = self.settings.max_body_bytes
                return RequestError(
                    f"the body is larger than {limit} bytes; send a smaller one", status=413, code="body_too_large"
                )
            case web.HTTPException():
                return describe_http_error(request, error)
            case web.RequestPayloadError():
                return RequestError("the body's framing is broken; send it again", code="bad_framing")
        log_failure(error, note_request_id(request))
        return RequestError("internal error", status=500, code="internal_error")
