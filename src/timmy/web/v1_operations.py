"""What can be asked of /v1, described."""

from __future__ import annotations

from timmy.completions import CompletionsDesk
from timmy.completions import refusals as completions
from timmy.errors import TimmyError
from timmy.idempotency import KeyReused
from timmy.identity import caveats
from timmy.identity.macaroons import MacaroonMalformed
from timmy.lightning.wallets.protocol import WalletDown
from timmy.models import ProviderDown, ProviderRefused
from timmy.sessions import refusals as sessions
from timmy.web import refusals, v1_refusals
from timmy.web.house import WebHouse
from timmy.web.operations import IDEMPOTENCY_KEY, PAID, Document, Operation, Sends, Takes, path_parameter
from timmy.web.payment_refusals import PAYMENT_REFUSALS
from timmy.web.v1 import V1Routes

KEY_REFUSALS: tuple[type[TimmyError], ...] = (
    v1_refusals.CredentialMalformed,
    v1_refusals.PreimageWrong,
    MacaroonMalformed,
    sessions.MacaroonUnknown,
    caveats.CaveatUnknown,
    caveats.MacaroonExpired,
    caveats.NotAllowed,
    v1_refusals.PaymentRequired,
    *PAYMENT_REFUSALS,
    sessions.RequestsRunning,
    refusals.RateLimited,
)
CHAT_REFUSALS: tuple[type[TimmyError], ...] = (
    *KEY_REFUSALS,
    v1_refusals.ParamUnknown,
    v1_refusals.ParamMissing,
    v1_refusals.ParamInvalid,
    completions.NotSupported,
    completions.PromptTooLong,
    completions.ContentRefused,
    completions.RequestNotAccepted,
    completions.MaxCostTooLow,
    completions.ModelNotFound,
    completions.CompletionInProgress,
    completions.CompletionForgotten,
    sessions.InsufficientBalance,
    sessions.KeyLimitReached,
    refusals.IdempotencyKeyInvalid,
    KeyReused,
    ProviderDown,
    ProviderRefused,
    WalletDown,
)

MESSAGES = [{"role": "user", "content": "Write a haiku about rain."}]
EXAMPLE: Document = {
    "id": "chatcmpl-jqxw2zlp5v3k7m4t6r2yq5hs4a",
    "object": "chat.completion",
    "created": 1767225600,
    "model": "timmy-demo",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Rain on the window…", "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {
        "prompt_tokens": 30,
        "completion_tokens": 20,
        "total_tokens": 50,
        "prompt_tokens_details": {"cached_tokens": 0},
        "cost": 0.001946,
        "cost_msat": 1946,
        "estimated": False,
    },
    "timmy": {"ending": "complete", "cost_msat": 1946, "balance_msat": 498054},
}
MODEL: Document = {
    "id": "timmy-demo",
    "object": "model",
    "created": 1767225600,
    "owned_by": "builtin",
    "max_output_tokens": 4096,
    "pricing": {
        "currency": "USD",
        "prompt_per_million": "4.20",
        "completion_per_million": "21.00",
        "input_cache_read_per_million": "0.42",
        "request": "0.0014",
        "prompt_msat_per_million": 4_200_000,
        "completion_msat_per_million": 21_000_000,
        "request_msat": 1_400,
    },
}
KEY: Document = {
    "object": "key",
    "state": "active",
    "balance_msat": 498_054,
    "held_msat": 0,
    "minimum_balance_msat": 20_000,
    "limits": [],
    "max_msat_per_request": None,
    "expires_at": "2026-01-31T00:00:00.000Z",
    "trust_tier": "anonymous",
    "topup_url": "/api/sessions/ses_jqxw2zlp5v3k7m4t6r2yq5hs4a/topup",
}
COSTS: Document = {
    "Payment-Receipt": {"description": "Of what was paid by the Payment scheme.", "schema": {"type": "string"}},
    "X-Cost-Msat": {"description": "What it cost, in thousandths of a sat.", "schema": {"type": "string"}},
    "X-Balance-Msat": {"description": "What the session has then.", "schema": {"type": "string"}},
}

ABOUT_CHAT = """\
OpenAI's chat completions, streaming or not: set `base_url` to this server's `/v1` and `api_key` to a session's macaroon. What the call may
come to is set aside, in steps while it streams; what was produced is charged, and the rest is free again. When no more can be set aside it
ends cleanly with `finish_reason: "length"`, and `timmy.message` says so. Fields that are not described are refused by name. Without a key
the answer is 402 with challenges of L402 and of the `Payment` scheme (MPP): pay their one invoice and ask again with
`Authorization: L402 <macaroon>:<preimage>`, or with the `Payment` credential of a charge or a session. A top-up is answered with
`{"status": "ok"}`, a close with `{"status": "closed", "refundSats": 12, "refundStatus": "succeeded"}`."""


def operations(house: WebHouse, desk: CompletionsDesk) -> tuple[Operation, ...]:
    routes = V1Routes(house, desk)
    return (*_talking(routes), *_looking(routes))


def _talking(routes: V1Routes) -> tuple[Operation, ...]:
    return (
        Operation(
            method="POST",
            path="/v1/chat/completions",
            name="createChatCompletion",
            summary="A conversation's next answer",
            about=ABOUT_CHAT,
            endpoint=routes.chat,
            takes=Takes(
                "NewCompletion",
                {
                    "plain": {"value": {"model": "timmy-demo", "messages": MESSAGES}},
                    "stream": {"value": {"model": "timmy-demo", "messages": MESSAGES, "stream": True, "max_cost_msat": 5_000}},
                },
            ),
            sends=(
                Sends(200, "The answer; with `stream`, server-sent chunks.", "Completion", example=EXAMPLE, headers=COSTS, streams=True),
            ),
            refuses=CHAT_REFUSALS,
            proof=PAID,
            parameters=(IDEMPOTENCY_KEY,),
            tag="openai",
            paid=("charge", "session"),
            v1=True,
        ),
        Operation(
            method="GET",
            path="/v1/chat/completions/{completionId}",
            name="getChatCompletion",
            summary="An answer that was given within the last day",
            about="For whoever hung up before all of it had come: what was produced was charged, and is kept for a day.",
            endpoint=routes.show,
            sends=(Sends(200, "The answer.", "Completion", example=EXAMPLE, headers=COSTS),),
            refuses=(*KEY_REFUSALS, completions.CompletionNotFound, completions.CompletionInProgress),
            proof=PAID,
            parameters=(path_parameter("completionId", "The id of the completion, or of its chunks.", EXAMPLE["id"]),),
            tag="openai",
            v1=True,
        ),
    )


def _looking(routes: V1Routes) -> tuple[Operation, ...]:
    return (
        Operation(
            method="GET",
            path="/v1/models",
            name="listModels",
            summary="What is sold, and for how much",
            about="No key is needed. `pricing` has the margin in it.",
            endpoint=routes.models,
            sends=(Sends(200, "The models.", "Models", example={"object": "list", "data": [MODEL]}),),
            tag="openai",
            v1=True,
        ),
        Operation(
            method="GET",
            path="/v1/models/{model:path}",
            name="getModel",
            summary="One model",
            about="No key is needed.",
            endpoint=routes.model,
            sends=(Sends(200, "The model.", "Model", example=MODEL),),
            refuses=(completions.ModelNotFound,),
            parameters=(path_parameter("model", "The model's id.", "timmy-demo"),),
            tag="openai",
            v1=True,
        ),
        Operation(
            method="GET",
            path="/v1/key",
            name="getKey",
            summary="What a key can still spend",
            about="The balance of its session, and the limits that are in the key.",
            endpoint=routes.key,
            sends=(Sends(200, "The key.", "ApiKey", example=KEY),),
            refuses=(*KEY_REFUSALS, WalletDown),
            proof=PAID,
            tag="openai",
            v1=True,
        ),
    )
