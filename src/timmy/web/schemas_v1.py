"""The shapes of /v1, for the OpenAPI document. What is OpenAI's is described as far as it is taken here."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from timmy.completions import Ending
from timmy.sessions.protocol import SessionState
from timmy.web import v1_fields
from timmy.web.shapes import Body, Dollars, NotNegative, Shape


class ChatMessage(BaseModel):
    model_config = ConfigDict(extra="forbid")

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[dict[str, Any]] | None = Field(None, description="A text, or parts: text, and from a user image_url.")
    name: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None


class NewCompletion(Body):
    """Every field that is taken. Any other is a 400 that names it."""

    model: str = Field(min_length=1, max_length=v1_fields.MODEL_CHARS_MAX, description="One of GET /v1/models.")
    messages: list[ChatMessage] = Field(min_length=1, max_length=v1_fields.MESSAGES_MAX)
    stream: bool | None = None
    stream_options: dict[str, Any] | None = Field(None, description="include_usage: a last chunk with the usage and its cost.")
    max_tokens: int | None = Field(None, ge=1, le=v1_fields.TOKENS_MAX)
    max_completion_tokens: int | None = Field(None, ge=1, le=v1_fields.TOKENS_MAX, description="The same. Of both, the smaller counts.")
    max_cost_msat: int | None = Field(None, ge=1, description="Ours: the most that this call may cost, in thousandths of a sat.")
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    seed: int | None = None
    stop: str | list[str] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    response_format: dict[str, Any] | None = None
    reasoning_effort: str | None = None
    n: Literal[1] | None = None
    user: str | None = Field(None, max_length=500, description="Not passed on.")


class TokenDetails(Shape):
    cached_tokens: NotNegative


class CompletionUsage(Shape):
    prompt_tokens: NotNegative
    completion_tokens: NotNegative
    total_tokens: NotNegative
    prompt_tokens_details: TokenDetails
    cost: Dollars = Field(description="What was charged, in US dollars at the price of the call.")
    cost_msat: int = Field(ge=0, description="What was charged, exactly.")
    estimated: bool = Field(description="The provider did not count, so we did.")


class CompletionEnding(BaseModel):
    ending: Ending | None
    cost_msat: NotNegative
    balance_msat: NotNegative
    message: str | None = Field(None, description="Why it ended, where that is not the model's doing.")


class CompletionChoice(Shape):
    index: NotNegative
    message: dict[str, Any] | None
    logprobs: None
    finish_reason: str | None


class Completion(Shape):
    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: CompletionUsage
    timmy: CompletionEnding


class ModelPricing(Shape):
    """What it costs here, the margin included. A call's price is the sum of its tokens and of `request`."""

    currency: Literal["USD"]
    prompt_per_million: str
    completion_per_million: str
    input_cache_read_per_million: str
    request: str
    prompt_msat_per_million: NotNegative
    completion_msat_per_million: NotNegative
    request_msat: NotNegative


class Model(Shape):
    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    max_output_tokens: int
    pricing: ModelPricing


class Models(Shape):
    object: Literal["list"]
    data: list[Model]


class KeyLimit(Shape):
    max_msat: NotNegative
    left_msat: NotNegative


class ApiKey(Shape):
    object: Literal["key"]
    state: SessionState
    balance_msat: NotNegative
    held_msat: NotNegative
    minimum_balance_msat: NotNegative
    limits: list[KeyLimit]
    max_msat_per_request: int | None
    expires_at: AwareDatetime
    trust_tier: str
    topup_url: str | None = Field(description="Null for a narrowed key.")


class OpenAIErrorBody(BaseModel):
    message: str
    type: str
    param: str | None
    code: str
    metadata: dict[str, Any] | None = Field(None, description="What a program needs to go on: amounts, an invoice.")


class OpenAIError(Shape):
    error: OpenAIErrorBody


class PaymentProblem(Shape):
    """RFC 9457, for a client of the `Payment` scheme; `error` beside it is the same for one of OpenAI's API."""

    type: str
    title: str
    status: int
    detail: str
    error: OpenAIErrorBody


class L402Deposit(Shape):
    min: NotNegative
    max: NotNegative


class L402Discovery(Shape):
    name: str
    version: str
    schemes: list[str]
    credentials: str
    payment: dict[str, Any]
    depositSats: L402Deposit
    caveats: list[str]
    endpoints: list[dict[str, Any]]
    models: list[dict[str, Any]]
    openapi: str


ALL: tuple[type[BaseModel], ...] = (NewCompletion, Completion, Models, Model, ApiKey, OpenAIError, PaymentProblem, L402Discovery)
