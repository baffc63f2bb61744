"""What LiteLLM, as a client, makes of a server: run by scripts/foreign_clients.py with an interpreter that has it.

It knows nothing of Timmy; BASE_URL, API_KEY and MODEL stand in its environment. Says in one line of JSON what it has seen.
"""

import json
import os
import sys

import httpx
import litellm

litellm.suppress_debug_info = True
HOME = {"api_base": os.environ["BASE_URL"], "api_key": os.environ["API_KEY"]}
MODEL = "openai/" + os.environ["MODEL"]
MESSAGES = [{"role": "user", "content": "Say something."}]


class LosesTheFirst(httpx.HTTPTransport):
    """The first answer gets lost on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.lost = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = super().handle_request(request)
        if not self.lost:
            self.lost += 1
            answer.read()
            raise httpx.ReadError("lost on the way", request=request)
        return answer


def streamed() -> dict[str, object]:
    chunks = list(litellm.completion(model=MODEL, messages=MESSAGES, stream=True, stream_options={"include_usage": True}, **HOME))
    texts = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    usages = [chunk.usage for chunk in chunks if getattr(chunk, "usage", None) is not None]
    return {"text": "".join(texts), "completion_tokens": usages[-1].completion_tokens}


def refused(**changed: object) -> str:
    asked = {"model": MODEL, "messages": MESSAGES, "max_retries": 0, **HOME, **changed}
    try:
        litellm.completion(**asked)
    except Exception as error:  # noqa: BLE001 - which one it is is what is asked
        return type(error).__name__
    return "nothing"


def retried() -> dict[str, object]:
    import openai

    transport = LosesTheFirst()
    client = openai.OpenAI(base_url=HOME["api_base"], api_key=HOME["api_key"], http_client=httpx.Client(transport=transport), max_retries=2)
    said = [{"role": "user", "content": "Say something once."}]
    answer = litellm.completion(model=MODEL, messages=said, client=client, max_retries=2, **HOME)
    return {"text": answer.choices[0].message.content, "lost": transport.lost}


whole = litellm.completion(model=MODEL, messages=MESSAGES, **HOME)
seen = {
    "chat": {"text": whole.choices[0].message.content, "completion_tokens": whole.usage.completion_tokens},
    "stream": streamed(),
    "models": litellm.get_valid_models(check_provider_endpoint=True, custom_llm_provider="openai", **HOME),
    "unknown_model": refused(model="openai/gpt-9"),
    "bad_key": refused(api_key="sk-nonsense"),
    "bad_field": refused(extra_body={"service_tier": "priority"}),
    "retry": retried(),
}
sys.stdout.write("\n" + json.dumps(seen) + "\n")
