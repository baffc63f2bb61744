"""What a session says no to, and what would work instead."""

from __future__ import annotations

from timmy.errors import NotFound, Refusal


class SessionNotFound(NotFound):
    code = "session_not_found"
    title = "There is no such session"


class RequestNotFound(NotFound):
    code = "request_not_found"
    title = "There is no such request"


class AmountOutOfBounds(Refusal):
    """`minSats`, `maxSats`."""

    status = 422
    code = "amount_out_of_bounds"
    title = "That amount is not possible"


class MacaroonUnknown(Refusal):
    status = 401
    code = "macaroon_unknown"
    title = "That macaroon is not one of ours"


class InsufficientBalance(Refusal):
    """`neededMsat`, `balanceMsat` (what is not held by other requests), `topupSats` (an amount that would do)."""

    status = 402
    code = "insufficient_balance"
    title = "The session's balance is too low"


class KeyLimitReached(Refusal):
    """`neededMsat`, `limitMsat` (what this key may still spend, or spend at once)."""

    status = 402
    code = "key_limit_reached"
    title = "This key may not spend that much"


class NotOpenYet(Refusal):
    status = 409
    code = "session_not_open"
    title = "The session waits for its deposit"


class SessionEnded(Refusal):
    status = 409
    code = "session_ended"
    title = "The session has ended"


class TopupPending(Refusal):
    """`invoice`: the pending one, `{paymentRequest, paymentHash, amountSats, expiresAt}`."""

    status = 409
    code = "topup_pending"
    title = "A top-up is waiting to be paid"


class RequestInProgress(Refusal):
    """`runningRequestId` is being worked on. Worth asking again with the same key in `retry_after_seconds`."""

    status = 409
    code = "request_in_progress"
    title = "The request with this Idempotency-Key is being worked on"
    retry_after_seconds: int = 2


class RequestsRunning(Refusal):
    status = 409
    code = "requests_running"
    title = "Requests of this session are being worked on"


# of the `Payment` scheme's sessions


class PaymentUsed(Refusal):
    status = 402
    code = "payment_used"
    title = "That payment has been used"


class PrepaidNotFound(Refusal):
    status = 402
    code = "payment_session_not_found"
    title = "No session was opened with that payment"


class PrepaidClosed(Refusal):
    status = 402
    code = "payment_session_closed"
    title = "That session has been closed"


class ReturnInvoiceInvalid(Refusal):
    status = 402
    code = "return_invoice_invalid"
    title = "The return invoice is not usable"
