"""The messages of the world's WebSocket, as shapes: what is sent is held against them by tests, and the pages' types are made from them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from pydantic.json_schema import models_json_schema

from timmy.world.terms import MESSAGE_CHARS_MAX, REPLY_CHARS_MAX

AgentId = Literal["timmy", "alpha", "beta", "gamma", "delta"]
AgentDoes = Literal["idle", "evaluating", "working", "processing"]
Count = Annotated[int, Field(ge=0)]
Cursor = Annotated[int, Field(ge=0, description="The number of the event; it grows.")]
At = Annotated[AwareDatetime, Field(description="ISO 8601 in UTC.")]
JobState = Literal["awaiting_eval_payment", "evaluating", "rejected", "awaiting_work_payment", "executing", "complete", "failed", "expired"]


class Sent(BaseModel):
    """A message may gain members later; nobody should choke on one they do not know."""


class WorldAgent(Sent):
    agentId: AgentId
    name: str
    state: AgentDoes = Field(description="alpha evaluates, delta processes, the others work; or it is idle, and `doing` says why.")
    doing: str = Field(description="A few words for a person.")
    since: AwareDatetime


class PoolSaid(Sent):
    balanceSats: Count
    reservedSats: Count
    earnedSats: Count
    givenSats: Count


class AgentNews(Sent):
    type: Literal["agent_state"]
    agentId: AgentId
    state: AgentDoes
    doing: str
    at: At


class ChatNews(Sent):
    type: Literal["chat"]
    agentId: Literal["timmy", "visitor", "alpha", "beta", "gamma", "delta"]
    text: str = Field(max_length=max(MESSAGE_CHARS_MAX, REPLY_CHARS_MAX), description="Plain text on one line.")
    mine: Literal[True] = Field(default=True, description="Only to whoever said it.")
    cursor: Cursor = Field(default=0, description="Absent where the words are for one visitor only, and not kept.")
    at: At


class JobNews(Sent):
    type: Literal["job"]
    state: JobState
    ref: str = Field(pattern="^[0-9a-f]{8}$", description="The same for the same piece of work; it leads to no id.")
    amountSats: Count = Field(default=0, description="What it was charged, where it was paid from a balance.")
    cursor: Cursor
    at: At


class PaymentNews(Sent):
    type: Literal["payment"]
    purpose: Literal["eval", "work", "session", "topup", "call", "node", "refund"] = Field(
        description="`refund` went out; all others came in."
    )
    amountSats: Count
    cursor: Cursor
    at: At


class PoolNews(PoolSaid):
    type: Literal["pool"]
    at: At


class VisitorsNews(Sent):
    type: Literal["visitors"]
    count: Count = Field(description="In front of all processes together.")
    at: At


class ErrorNews(Sent):
    """To one visitor: what was wrong with what they sent, and what to do."""

    type: Literal["error"]
    code: Literal[
        "binary",
        "not_json",
        "type_unknown",
        "text_missing",
        "message_empty",
        "message_too_long",
        "too_many_messages",
        "too_busy",
        "not_said",
    ]
    error: str
    at: At


class Pong(Sent):
    type: Literal["pong"]
    at: At


class Limits(Sent):
    messageCharsMax: Count
    repliesPerMinute: Count


class WorldState(Sent):
    """The first message, and what `GET /api/world/state` answers."""

    type: Literal["world_state"]
    at: At
    cursor: Cursor
    agents: list[WorldAgent] = Field(min_length=5, max_length=5)
    pool: PoolSaid = Field(description="All of what GET /api/pool answers.")
    visitors: Count
    recent: list[ChatNews | JobNews | PaymentNews] = Field(max_length=50, description="Oldest first.")
    limits: Limits


class VisitorMessage(BaseModel):
    type: Literal["visitor_message"]
    text: str = Field(min_length=1, max_length=MESSAGE_CHARS_MAX)


class Ping(BaseModel):
    model_config = ConfigDict(extra="allow")

    type: Literal["ping"]


FROM_SERVER: tuple[type[BaseModel], ...] = (
    WorldState, AgentNews, ChatNews, JobNews, PaymentNews, PoolNews, VisitorsNews, ErrorNews, Pong,
)  # fmt: skip
FROM_VISITOR: tuple[type[BaseModel], ...] = (VisitorMessage, Ping)


def document() -> dict[str, Any]:
    """JSON Schema 2020-12: `ServerMessage` is whatever comes, `ClientMessage` whatever may be sent."""
    _, found = models_json_schema([(model, "validation") for model in (*FROM_SERVER, *FROM_VISITOR)], ref_template="#/$defs/{model}")
    shapes: dict[str, Any] = dict(sorted(found["$defs"].items()))
    for shape in shapes.values():
        for member in shape.get("properties", {}).values():
            member.pop("default", None)  # absent is absent
    shapes["ServerMessage"] = {"oneOf": [{"$ref": f"#/$defs/{model.__name__}"} for model in FROM_SERVER]}
    shapes["ClientMessage"] = {"oneOf": [{"$ref": f"#/$defs/{model.__name__}"} for model in FROM_VISITOR]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Timmy's WebSocket: /api/ws",
        "description": "ServerMessage: what comes. ClientMessage: what may be sent. Each is one text message.",
        "$ref": "#/$defs/ServerMessage",
        "$defs": shapes,
    }
