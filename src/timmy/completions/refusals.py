"""What this room says no to, and what would work instead."""

from __future__ import annotations

from timmy.errors import NotFound, Outage, Refusal
from timmy.models import ProviderDown, ProviderRefused


class CompletionNotFound(NotFound):
    code = "completion_not_found"
    title = "There is no such completion"


class CompletionForgotten(Refusal):
    """What this one repeats was answered and charged long ago. Asking again will not bring it back."""

    status = 410
    code = "completion_forgotten"
    title = "The answer is no longer kept"


class ModelNotFound(NotFound):
    code = "model_not_found"
    title = "That model is not sold here"


class NotSupported(Refusal):
    """`param`: the field that asks for it."""

    code = "not_supported"
    title = "The provider of this model cannot do that"


class PromptTooLong(Refusal):
    """For us, or for the model's provider. Nothing was charged."""

    code = "context_length_exceeded"
    title = "The conversation is too long"


class ContentRefused(Refusal):
    """By the content filter of the model's provider. Nothing was charged."""

    code = "content_policy_violation"
    title = "The model's provider does not let this conversation through"


class RequestNotAccepted(Refusal):
    """The model's provider does not take something in the request, and would not the next time. Nothing was charged."""

    code = "request_not_accepted"
    title = "The model does not take this request"


class MaxCostTooLow(Refusal):
    """`neededMsat`: the least with which it could begin."""

    code = "max_cost_too_low"
    title = "The call costs more than its max_cost_msat"


class CompletionInProgress(Refusal):
    """An earlier call like this one is being worked on, and this one says that it is its repetition."""

    status = 409
    code = "completion_in_progress"
    title = "The call that this repeats is being worked on"
    retry_after_seconds: int = 2


def of_provider(trouble: ProviderDown | ProviderRefused) -> Refusal | Outage:
    """What the caller is told: a refusal where they can mend it, an outage only where they cannot. After an outage an SDK asks again, and
    a person waits."""
    if isinstance(trouble, ProviderDown) or trouble.is_the_operators:
        return trouble
    kind = {"too_large": PromptTooLong, "content": ContentRefused}.get(str(trouble.extra.get("reason")), RequestNotAccepted)
    return kind(trouble.message)
