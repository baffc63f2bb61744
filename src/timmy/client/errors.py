"""What a buyer can be told. All are a `TimmyError`, with a sentence that says what to do next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from timmy.errors import Outage, Refusal, plain


class ServerRefused(Refusal):
    """The server said no. `answer_status` and `answer_code` are its own (docs/reference/errors.md), `document` is its whole answer."""

    code = "server_refused"
    title = "The server refused"

    def __init__(self, status: int, document: Mapping[str, Any]) -> None:
        said = document.get("error")
        nested = said.get("message") if isinstance(said, dict) else said  # /v1 answers in OpenAI's shape
        super().__init__(plain(nested) if isinstance(nested, str) and nested else f"It answered {status}, without a reason.")
        inner = said if isinstance(said, dict) else document
        self.answer_status = status
        self.answer_code = inner["code"] if isinstance(inner.get("code"), str) else ""
        self.document = document

    @property
    def is_for_good(self) -> bool:
        """The same again would be refused again."""
        return 400 <= self.answer_status < 500 and self.answer_status not in (408, 429)


class ServerDown(Outage):
    code = "server_down"
    title = "No answer"


class AnswerInvalid(Outage):
    code = "answer_invalid"
    title = "The server's answer makes no sense"


class LimitReached(Refusal):
    """`limit` is "per_call" or "per_day", and `of` whose: "program", or "notebook" (`timmy limits`). `neededMsat` is what the payment may
    cost with its fee and with what follows it, `leftMsat` what is left."""

    code = "limit_reached"
    title = "That is more than may be spent"


class InvoiceNotAsOffered(Refusal):
    code = "invoice_not_as_offered"
    title = "The invoice is not what the server said it is"


class InvoiceLapsed(Refusal):
    code = "invoice_lapsed"
    title = "The invoice was not paid in time"


class OtherWallet(Refusal):
    code = "other_wallet"
    title = "That payment was begun with another wallet"


class PaymentFailed(Refusal):
    code = "payment_failed"
    title = "The wallet could not pay"


class DestinationWrong(Refusal):
    """What was given is no place for sats, or not for these; nothing was paid and nothing was moved."""

    code = "destination_wrong"
    title = "Nothing can be paid to that"


class NoWallet(Refusal):
    code = "no_wallet"
    title = "A wallet is wanted"


class Unfinished(Outage):
    """Nothing is lost: what was begun is in the notebook, and `resume()` goes on with it."""

    code = "unfinished"
    title = "It is not finished yet"


class NotKnownHere(Refusal):
    code = "not_known_here"
    title = "The notebook does not know that"


class NotebookBroken(Refusal):
    code = "notebook_broken"
    title = "The notebook cannot be used"
