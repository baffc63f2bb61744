"""What the `Payment` scheme says no to. Each answer is 402 with a fresh challenge, and names a problem type of the scheme."""

from __future__ import annotations

from collections.abc import Mapping

from timmy.errors import Refusal, TimmyError
from timmy.sessions import refusals as sessions

PROBLEMS = "https://paymentauth.org/problems/"


class PaymentMalformed(Refusal):
    status = 402
    code = "payment_credential_malformed"
    title = "The Payment credential cannot be read"


class PaymentMethodUnsupported(Refusal):
    code = "payment_method_unsupported"
    title = "That payment method is not taken here"


class ChallengeUnknown(Refusal):
    status = 402
    code = "payment_challenge_unknown"
    title = "That challenge was not made here, or it was changed"


class ChallengeExpired(Refusal):
    """Its payment is its payer's still: a session is opened with it by the session challenge of the same answer, however late."""

    status = 402
    code = "payment_challenge_expired"
    title = "The challenge has expired"


class ChargeExpired(Refusal):
    """The same of a charge."""

    status = 402
    code = "payment_charge_expired"
    title = "The charge has expired"


class PreimageInvalid(Refusal):
    status = 402
    code = "payment_preimage_invalid"
    title = "That preimage is not the one of the challenge's invoice"


TYPES: Mapping[type[TimmyError], str] = {
    PaymentMalformed: "lightning/malformed-credential",
    PaymentMethodUnsupported: "method-unsupported",
    ChallengeUnknown: "lightning/unknown-challenge",
    ChallengeExpired: "lightning/challenge-expired",
    ChargeExpired: "lightning/expired-invoice",
    PreimageInvalid: "lightning/invalid-preimage",
    sessions.NotOpenYet: "verification-failed",
    sessions.PaymentUsed: "lightning/unknown-challenge",
    sessions.PrepaidNotFound: "lightning/session-not-found",
    sessions.PrepaidClosed: "lightning/session-closed",
    sessions.SessionEnded: "lightning/session-closed",
    sessions.ReturnInvoiceInvalid: "lightning/invalid-return-invoice",
    sessions.InsufficientBalance: "lightning/insufficient-balance",
    sessions.KeyLimitReached: "lightning/insufficient-balance",
}
PAYMENT_REFUSALS: tuple[type[Refusal], ...] = (
    PaymentMalformed, PaymentMethodUnsupported, ChallengeUnknown, ChallengeExpired, ChargeExpired, PreimageInvalid, sessions.PaymentUsed,
    sessions.PrepaidNotFound, sessions.PrepaidClosed, sessions.ReturnInvoiceInvalid,
)  # fmt: skip


def type_of(kind: type[TimmyError]) -> str:
    """The problem type's URI."""
    return PROBLEMS + TYPES.get(kind, "verification-failed")
