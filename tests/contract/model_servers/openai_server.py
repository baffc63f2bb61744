"""OpenAI's chat completions on a loopback port, as its API reference describes them, with the differences of its imitators as switches."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web
from tests.contract.model_servers.script import API_KEY, HONEST, MODEL, Call, ModelServer, Say

REASONER = "test-reasoner"  # wants max_completion_tokens, like OpenAI's reasoning models
_FIELDS = {"model", "messages", "max_tokens", "max_completion_tokens", "stream", "stream_options", "temperature", "n", "user"}
_FIELDS |= {"tools", "tool_choice", "response_format"}
_CREATED = 1_700_000_000


class OpenAIServer(ModelServer):
    def __init__(self) -> None:
        super().__init__()
        self.knows_stream_options = True
        self.has_models = True
        self.reports_usage = True

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/v1/chat/completions", self.answer), web.get("/v1/models", self.models)]

    async def models(self, request: web.Request) -> web.Response:
        call = await self.heard(request)
        if not self.has_models:
            raise web.HTTPNotFound
        if call.headers.get("authorization") != f"Bearer {API_KEY}":
            return self._bad_key(call)
        models = [{"id": name, "object": "model", "created": _CREATED, "owned_by": "test"} for name in (MODEL, REASONER)]
        return web.json_response({"object": "list", "data": models})

    def refusal_of(self, call: Call) -> web.Response | None:
        body = call.body
        if call.headers.get("authorization") != f"Bearer {API_KEY}":
            return self._bad_key(call)
        for name in body.keys() - _FIELDS:
            return self.error(400, None, f"Unrecognized request argument supplied: {name}")
        if body.get("model") not in {MODEL, REASONER}:
            return self.error(404, "model_not_found", f"The model `{body.get('model')}` does not exist or you do not have access to it.")
        if "stream_options" in body and not self.knows_stream_options:
            return self.error(422, None, "body.stream_options: Extra inputs are not permitted")
        if "stream_options" in body and not body.get("stream"):
            return self.error(400, None, "The 'stream_options' parameter is only allowed when 'stream' is enabled.")
        if body["model"] == REASONER and "max_tokens" in body:
            text = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
            return self.error(400, "unsupported_parameter", text)
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages:
            return self.error(400, None, "[] is too short - 'messages'")
        for message in messages:
            if message.get("role") not in {"system", "user", "assistant", "tool"} or not isinstance(
                message.get("content"), str | list | None
            ):
                return self.error(400, None, f"Invalid value in 'messages': {message}")
        if not isinstance(self.limit(call), int) or self.limit(call) < 1:
            return self.error(400, "integer_below_min_value", "Invalid 'max_tokens': integer below minimum value.")
        return None

    def _bad_key(self, call: Call) -> web.Response:
        said = call.headers.get("authorization", "")
        return self.error(401, "invalid_api_key", f"Incorrect API key provided: {said}. You can find your API key at {self.url}.")

    def error(self, status: int, code: str | None, text: str, headers: Mapping[str, str] | None = None) -> web.Response:
        kind = {429: "requests", 500: "server_error"}.get(status, "invalid_request_error" if status < 500 else "server_error")
        if code == "insufficient_quota":
            kind = "insufficient_quota"
        error = {"message": text, "type": kind, "param": None, "code": code}
        return web.json_response({"error": error}, status=status, headers=headers)

    def limit(self, call: Call) -> int:
        limit: int = call.body.get("max_completion_tokens", call.body.get("max_tokens", 1_000_000))
        return limit

    def asked(self, call: Call) -> tuple[str, str]:
        messages = call.body["messages"]
        return "".join(each["content"] for each in messages if each["role"] == "system"), str(messages[-1]["content"])

    def whole(self, say: Say, call: Call) -> dict[str, Any]:
        text = self.within_limit(say, call)
        message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None, "annotations": []}
        if say.reasoning:
            message["reasoning_content"] = say.reasoning
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self._finish(say, call)}
        answer: dict[str, Any] = {**self._head("chat.completion", call), "choices": [choice]}
        if self.reports_usage and say.usage is not None:
            answer["usage"] = self._usage(say, call)
        return answer

    def opening(self, say: Say, call: Call) -> list[bytes]:
        chunks = [self._chunk(call, [self._choice({"role": "assistant", "content": "", "refusal": None})])]
        if say.reasoning:
            chunks.append(self._chunk(call, [self._choice({"reasoning_content": say.reasoning})]))
        return chunks

    def delta(self, text: str, call: Call) -> bytes:
        return self._chunk(call, [self._choice({"content": text})])

    def closing(self, say: Say, call: Call) -> list[bytes]:
        chunks = [self._chunk(call, [self._choice({}, self._finish(say, call))])]
        if self._wants_usage(call) and say.usage is not None:
            chunks.append(self._chunk(call, [], self._usage(say, call)))
        return [*chunks, b"data: [DONE]\n\n"] if say.last_words else chunks

    def error_event(self) -> bytes:
        return _event({"error": {"message": f"boom {API_KEY}", "type": "server_error", "param": None, "code": None}})

    def ping(self) -> bytes:
        return b": keep-alive\n\n"

    def _wants_usage(self, call: Call) -> bool:
        return self.reports_usage and bool((call.body.get("stream_options") or {}).get("include_usage"))

    def _finish(self, say: Say, call: Call) -> str:
        if say.refused:
            return "content_filter"
        return "length" if self.within_limit(say, call) != say.text else "stop"

    def _usage(self, say: Say, call: Call) -> Any:
        if say.usage is not HONEST:
            return say.usage
        said = sum(self.tokens(str(each["content"])) + 3 for each in call.body["messages"])
        thought = self.tokens(say.reasoning)
        written = self.tokens(self.within_limit(say, call)) + thought
        return {
            "prompt_tokens": said,
            "completion_tokens": written,
            "total_tokens": said + written,
            "prompt_tokens_details": {"cached_tokens": said // 2, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": thought, "audio_tokens": 0},
        }

    def _head(self, kind: str, call: Call) -> dict[str, Any]:
        head = {"id": "chatcmpl-test", "object": kind, "created": _CREATED, "model": call.body["model"]}
        return {**head, "service_tier": "default", "system_fingerprint": "fp_test"}

    def _choice(self, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}

    def _chunk(self, call: Call, choices: list[dict[str, Any]], usage: Any = None) -> bytes:
        chunk: dict[str, Any] = {**self._head("chat.completion.chunk", call), "choices": choices}
        if self._wants_usage(call):
            chunk["usage"] = usage
        return _event(chunk)


def _event(data: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(data, ensure_ascii=False).encode() + b"\n\n"
