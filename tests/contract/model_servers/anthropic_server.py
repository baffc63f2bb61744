"""Anthropic's Messages API on a loopback port, as its API reference describes it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web
from tests.contract.model_servers.script import API_KEY, HONEST, MODEL, Call, ModelServer, Say

_FIELDS = {"model", "messages", "max_tokens", "system", "stream", "stop_sequences", "metadata"}
_FIELDS |= {"tools", "tool_choice", "output_config", "stop_sequences", "top_p", "temperature"}
_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


class AnthropicServer(ModelServer):
    def __init__(self) -> None:
        super().__init__()
        self.schemes = {"authorization": "Bearer ", "x-api-key": ""}  # what an API key may be shown in

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/v1/messages", self.answer), web.get("/v1/models", self.models)]

    async def models(self, request: web.Request) -> web.Response:
        call = await self.heard(request)
        if not self._knows(call):
            return self._bad_key()
        model = {"type": "model", "id": MODEL, "display_name": "Test", "created_at": "2025-01-01T00:00:00Z"}
        return web.json_response({"data": [model], "has_more": False, "first_id": MODEL, "last_id": MODEL})

    def refusal_of(self, call: Call) -> web.Response | None:
        body, headers = call.body, call.headers
        if not self._knows(call):
            return self._bad_key()
        if "anthropic-version" not in headers:
            return self.error(400, None, "anthropic-version: header is required")
        if headers["anthropic-version"] not in {"2023-06-01", "2026-10-21"}:
            return self.error(400, None, "anthropic-version: unknown version")
        for name in body.keys() - _FIELDS:
            return self.error(400, None, f"{name}: Extra inputs are not permitted")
        if not isinstance(body.get("max_tokens"), int) or body["max_tokens"] < 1:
            return self.error(400, None, "max_tokens: Field required, at least 1")
        if body.get("model") != MODEL:
            return self.error(404, None, f"model: {body.get('model')}")
        if "system" in body and not body["system"]:
            return self.error(400, None, "system: text content blocks must be non-empty")
        messages = body.get("messages")
        if not messages or messages[0].get("role") != "user":
            return self.error(400, None, "messages: first message must use the user role")
        for message in messages:
            if message.get("role") not in {"user", "assistant"} or not message.get("content"):
                return self.error(400, None, "messages: text content blocks must be non-empty")
        return None

    def _knows(self, call: Call) -> bool:
        return any(call.headers.get(name) == scheme + API_KEY for name, scheme in self.schemes.items())

    def _bad_key(self) -> web.Response:
        return self.error(401, None, f"invalid x-api-key {API_KEY}")

    def error(self, status: int, code: str | None, text: str, headers: Mapping[str, str] | None = None) -> web.Response:
        error = {"type": code or _KINDS.get(status, "api_error"), "message": text}
        body = {"type": "error", "error": error, "request_id": "req_test"}
        return web.json_response(body, status=status, headers={"request-id": "req_test", **(headers or {})})

    def limit(self, call: Call) -> int:
        limit: int = call.body["max_tokens"]
        return limit

    def asked(self, call: Call) -> tuple[str, str]:
        return call.body.get("system", ""), str(call.body["messages"][-1]["content"])

    def whole(self, say: Say, call: Call) -> dict[str, Any]:
        text = self.within_limit(say, call)
        blocks: list[dict[str, Any]] = [{"type": "text", "text": text}] if text else []
        if say.reasoning:
            blocks.insert(0, {"type": "thinking", "thinking": say.reasoning, "signature": "c2ln"})
        answer = {**self._message(call), "content": blocks, "stop_reason": self._stop(say, call), "stop_sequence": None}
        if say.usage is not None:
            answer["usage"] = self._usage(say, call) if say.usage is HONEST else say.usage
        return answer

    def opening(self, say: Say, call: Call) -> list[bytes]:
        message = {**self._message(call), "content": [], "stop_reason": None, "stop_sequence": None}
        if say.usage is not None:
            message["usage"] = {**self._usage(say, call), "output_tokens": 1} if say.usage is HONEST else say.usage
        events = [_event("message_start", message=message)]
        index = 0
        if say.reasoning:
            events.append(_event("content_block_start", index=0, content_block={"type": "thinking", "thinking": "", "signature": ""}))
            events.append(_event("content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": say.reasoning}))
            events.append(_event("content_block_delta", index=0, delta={"type": "signature_delta", "signature": "c2ln"}))
            events.append(_event("content_block_stop", index=0))
            index = 1
        return [*events, _event("content_block_start", index=index, content_block={"type": "text", "text": ""}), self.ping()]

    def delta(self, text: str, call: Call) -> bytes:
        return _event("content_block_delta", index=0, delta={"type": "text_delta", "text": text})

    def closing(self, say: Say, call: Call) -> list[bytes]:
        end: dict[str, Any] = {"delta": {"stop_reason": self._stop(say, call), "stop_sequence": None}}
        if say.usage is not None:
            usage = self._usage(say, call)
            end["usage"] = {"output_tokens": usage["output_tokens"]} if say.usage is HONEST else say.usage
        events = [_event("content_block_stop", index=0), _event("message_delta", **end)]
        return [*events, _event("message_stop")] if say.last_words else events

    def error_event(self) -> bytes:
        return _event("error", error={"type": "overloaded_error", "message": f"Overloaded {API_KEY}"})

    def ping(self) -> bytes:
        return _event("ping")

    def _stop(self, say: Say, call: Call) -> str:
        if say.refused:
            return "refusal"
        return "max_tokens" if self.within_limit(say, call) != say.text else "end_turn"

    def _usage(self, say: Say, call: Call) -> dict[str, Any]:
        texts = [call.body.get("system", ""), *(str(each["content"]) for each in call.body["messages"])]
        said = sum(self.tokens(text) for text in texts)
        cached = said // 2
        return {
            "input_tokens": said - cached,
            "cache_read_input_tokens": cached,
            "cache_creation_input_tokens": 0,
            "output_tokens": self.tokens(self.within_limit(say, call)) + self.tokens(say.reasoning),
            "service_tier": "standard",
        }

    def _message(self, call: Call) -> dict[str, Any]:
        return {"id": "msg_test", "type": "message", "role": "assistant", "model": call.body["model"]}


def _event(kind: str, **data: Any) -> bytes:
    return f"event: {kind}\n".encode() + b"data: " + json.dumps({"type": kind, **data}, ensure_ascii=False).encode() + b"\n\n"
