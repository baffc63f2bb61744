"""What can go wrong with a provider, as a closed set.

A provider's own words never leave this room: they may hold our key, an internal address or another customer's text. Each kind of
trouble has one sentence of ours, and a code (`reason` in the problem document).
"""

from __future__ import annotations

import math
from enum import Enum

from timmy.models.protocol import ProviderDown, ProviderRefused

RETRY_AFTER_TOLD_SECONDS_MAX = 3_600


class Refused(Enum):
    """The same call will never work."""

    BAD_KEY = "The model provider does not accept the API key. The operator should check the key and what it may be used for."
    NO_CREDIT = "The account at the model provider has no credit left. The operator should top it up."
    UNKNOWN_MODEL = "The model provider does not know this model, or its address is wrong. The operator should check both."
    TOO_LARGE = "The request is too large for this model. Send less text."
    CONTENT = "The model provider's content filter does not let this request through. Ask for something else."
    MOVED = "The model provider's address leads somewhere else. The operator should set the base URL to the final address."
    BAD_REQUEST = (
        "The model does not take this request as it is. Leave out what is unusual in it; if a plain question is refused too, the operator "
        "should see that model and base URL fit."
    )


class Down(Enum):
    """The same call may work later."""

    UNREACHABLE = "The model provider cannot be reached. Try again in a moment."
    TIMED_OUT = "The model provider took too long to answer. Try again in a moment."
    STALLED = "The model provider stopped in the middle of its answer. Try again in a moment."
    BUSY = "The model provider is answering too many requests. Try again in a moment."
    BROKEN = "The model provider has a problem of its own. Try again in a moment."
    CUT_OFF = "The model provider's answer broke off. Try again in a moment."
    GARBLED = "The model provider's answer could not be understood. Try again in a moment."


def refused(why: Refused) -> ProviderRefused:
    return ProviderRefused(why.value, reason=why.name.lower())


def down(why: Down, *, wait_seconds: float | None = None) -> ProviderDown:
    """`wait_seconds`: what the provider asked for, if it did."""
    trouble = ProviderDown(why.value, reason=why.name.lower())
    if wait_seconds is not None:
        trouble.wait_seconds = wait_seconds
        trouble.retry_after_seconds = max(1, math.ceil(min(wait_seconds, RETRY_AFTER_TOLD_SECONDS_MAX)))
    return trouble


# The providers' own names for trouble, in an error body or in the middle of a stream, where there is no status to go by.
# OpenAI: developers' error code guide; Anthropic: API reference, "Errors"; the rest is what compatible servers were seen to send.
_BY_NAME: dict[str, Refused | Down] = {
    "invalid_api_key": Refused.BAD_KEY,
    "authentication_error": Refused.BAD_KEY,
    "permission_error": Refused.BAD_KEY,
    "insufficient_quota": Refused.NO_CREDIT,
    "billing_error": Refused.NO_CREDIT,
    "billing_hard_limit_reached": Refused.NO_CREDIT,
    "billing_not_active": Refused.NO_CREDIT,
    "model_not_found": Refused.UNKNOWN_MODEL,
    "model_decommissioned": Refused.UNKNOWN_MODEL,  # Groq
    "invalid_model": Refused.UNKNOWN_MODEL,  # Mistral
    "not_found_error": Refused.UNKNOWN_MODEL,
    "context_length_exceeded": Refused.TOO_LARGE,
    "exceed_context_size_error": Refused.TOO_LARGE,
    "request_too_large": Refused.TOO_LARGE,
    "string_above_max_length": Refused.TOO_LARGE,
    "content_filter": Refused.CONTENT,
    "invalid_prompt": Refused.CONTENT,
    "data_inspection_failed": Refused.CONTENT,  # Qwen
    "content_policy_violation": Refused.CONTENT,
    "invalid_request_error": Refused.BAD_REQUEST,
    "rate_limit_error": Down.BUSY,
    "rate_limit_exceeded": Down.BUSY,
    "overloaded_error": Down.BUSY,
    "timeout_error": Down.TIMED_OUT,
    "api_error": Down.BROKEN,
    "server_error": Down.BROKEN,
}

# How their messages begin, where the name is that of any bad request. Only the beginning: what follows may quote the customer.
_BY_WORDS: dict[str, Refused] = {
    "Your credit balance is too low": Refused.NO_CREDIT,  # Anthropic, with a 400
    "API key not valid": Refused.BAD_KEY,  # Gemini, with a 400
    "This model's maximum context length": Refused.TOO_LARGE,  # vLLM and its like
    "prompt is too long": Refused.TOO_LARGE,  # Anthropic
}

_BY_STATUS: dict[int, Refused | Down] = {
    401: Refused.BAD_KEY,
    402: Refused.NO_CREDIT,
    403: Refused.BAD_KEY,
    404: Refused.UNKNOWN_MODEL,
    408: Down.TIMED_OUT,
    409: Down.BUSY,
    413: Refused.TOO_LARGE,
    425: Down.BUSY,
    429: Down.BUSY,
    503: Down.BUSY,
    504: Down.TIMED_OUT,
    529: Down.BUSY,  # Anthropic: overloaded
}


def of_status(
    status: int, names: tuple[str, ...] = (), message: str = "", *, wait_seconds: float | None = None
) -> ProviderDown | ProviderRefused:
    """The trouble behind an HTTP status of 300 and above; `names` are the codes in its body, most telling first, `message` is its text.

    The status decides whether it may be retried, with one exception: a 429 that says the account is empty is no matter of waiting.
    """
    named = of_names(names)
    why: Refused | Down | None = _BY_STATUS.get(status)
    if why is None or (status == 429 and named is Refused.NO_CREDIT):
        family: Refused | Down
        if status >= 500:
            family = Down.BROKEN
        elif status < 400:
            family = Refused.MOVED
        else:
            family = _worded(message) or Refused.BAD_REQUEST
            named = None if named is Refused.BAD_REQUEST else named
        why = named if isinstance(named, Refused) and 400 <= status < 500 else family
    return refused(why) if isinstance(why, Refused) else down(why, wait_seconds=wait_seconds)


def of_stream(names: tuple[str, ...], status: int | None) -> ProviderDown | ProviderRefused:
    """The trouble behind an error that came as a part of a stream, where the status (if any) is only a number in the text."""
    named = of_names(names)
    if isinstance(named, Refused):
        return refused(named)
    if named is not None:
        return down(named)
    if status is not None and 400 <= status < 600:
        return of_status(status)
    return down(Down.BROKEN)


def _worded(message: str) -> Refused | None:
    return next((why for words, why in _BY_WORDS.items() if message.startswith(words)), None)


def of_names(names: tuple[str, ...]) -> Refused | Down | None:
    return next((_BY_NAME[name] for name in names if name in _BY_NAME), None)
