"""The shapes of answers, for the OpenAPI document. Nothing is built of them: a test holds answers against them."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from pagoda_guard.openai_errors import ErrorType

FinishReason = Literal["stop", "length", "tool_calls", "function_call", "content_filter", "abort"]


class Shape(BaseModel):
    model_config = ConfigDict(extra="allow")


class ErrorDetail(Shape):
    message: str
    type: ErrorType
    code: str | None
    param: str | None


class ErrorAnswer(Shape):
    error: ErrorDetail


class TokenDetails(Shape):
    cached_tokens: int


class AnswerTokenDetails(Shape):
    reasoning_tokens: int


class Usage(Shape):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: TokenDetails
    completion_tokens_details: AnswerTokenDetails | None = None


class TokenScore(Shape):
    token: str
    logprob: float
    bytes: list[int]


class ScoredToken(TokenScore):
    top_logprobs: list[TokenScore]


class ChatLogprobs(Shape):
    content: list[ScoredToken]
    refusal: None


class CalledFunction(Shape):
    name: str | None = None
    """None: as in the delta before."""
    arguments: str


class ToolCall(Shape):
    index: int | None = None
    """Which of the answer's calls a delta belongs to."""
    id: str | None = None
    type: Literal["function"] | None = None
    function: CalledFunction


class AnswerMessage(Shape):
    role: Literal["assistant"]
    content: str | None
    refusal: str | None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[ToolCall] | None = None
    function_call: CalledFunction | None = None


class MessageDelta(Shape):
    role: Literal["assistant"] | None = None
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[ToolCall] | None = None
    function_call: CalledFunction | None = None


class PromptScore(Shape):
    logprob: float
    rank: int | None
    decoded_token: str


class ChatChoice(Shape):
    index: int
    message: AnswerMessage
    logprobs: ChatLogprobs | None
    finish_reason: FinishReason
    token_ids: list[int] | None = None


class ChatChunkChoice(Shape):
    index: int
    delta: MessageDelta
    logprobs: ChatLogprobs | None
    finish_reason: FinishReason | None
    token_ids: list[int] | None = None


class Head(Shape):
    id: str
    created: int
    model: str
    service_tier: Literal["default"] | None = None


class ChatCompletion(Head):
    object: Literal["chat.completion"]
    choices: list[ChatChoice]
    usage: Usage
    prompt_token_ids: list[int] | None = None
    prompt_logprobs: list[dict[str, PromptScore] | None] | None = None


class ChatCompletionChunk(Head):
    """One event of a stream, whose last event is `[DONE]`."""

    object: Literal["chat.completion.chunk"]
    choices: list[ChatChunkChoice]
    usage: Usage | None = None
    prompt_token_ids: list[int] | None = None
    obfuscation: str | None = None


class CompletionLogprobs(Shape):
    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]


class CompletionChoice(Shape):
    index: int
    text: str
    logprobs: CompletionLogprobs | None
    finish_reason: FinishReason | None
    token_ids: list[int] | None = None
    prompt_token_ids: list[int] | None = None
    prompt_logprobs: list[dict[str, PromptScore] | None] | None = None


class Completion(Head):
    """The whole answer, or one event of a stream, whose last event is `[DONE]`."""

    object: Literal["text_completion"]
    choices: list[CompletionChoice]
    usage: Usage | None = None
    obfuscation: str | None = None


class Model(Shape):
    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    root: str
    parent: None
    max_model_len: int | None


class ModelList(Shape):
    object: Literal["list"]
    data: list[Model]


class Tokens(Shape):
    count: int
    max_model_len: int | None
    tokens: list[int]
    token_strs: list[str] | None


class Detokenized(Shape):
    prompt: str


class Version(Shape):
    version: str


class Health(Shape):
    healthy: bool


class InputTokens(Shape):
    input_tokens: int


class ResponseTokens(InputTokens):
    object: Literal["response.input_tokens"]


class ResponseUsage(Shape):
    input_tokens: int
    output_tokens: int
    total_tokens: int


class ResponseItem(Shape):
    """A message, reasoning or the call of a function."""

    id: str
    type: str
    status: str | None = None


class Response(Shape):
    id: str
    object: Literal["response"]
    created_at: int
    status: str
    model: str
    output: list[ResponseItem]
    usage: ResponseUsage | None


class ContentBlock(Shape):
    type: str


class MessageUsage(Shape):
    input_tokens: int
    output_tokens: int


class Message(Shape):
    """An answer in the shape of Anthropic's API."""

    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    model: str
    content: list[ContentBlock]
    stop_reason: str | None
    stop_sequence: str | None
    usage: MessageUsage


class MessageErrorDetail(Shape):
    type: str
    message: str


class MessageError(Shape):
    type: Literal["error"]
    error: MessageErrorDetail


class ResponseEvent(Shape):
    type: str
    sequence_number: int


class MessageEvent(Shape):
    type: str
