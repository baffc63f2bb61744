"""What an operator does with a payout that does not get on by itself. Nothing here can pay twice, or pay at all: it lets a payout leave, or
says how one ended, and the outbox does the rest.

A payout that was tried may still arrive, so it is given back only where the wallet itself says that nothing is on its way, asked after the
last try could no longer be made (`paying.SEND_WITHIN_SECONDS`), and only if nobody has tried again meanwhile.
"""

from __future__ import annotations

from timmy import events, tasks
from timmy.db import Tx
from timmy.errors import NotFound, Refusal
from timmy.events import NewEvent
from timmy.ledger import Code, Move, chart, commit
from timmy.ledger.commit import hold_still
from timmy.lightning import bolt11, payouts, store
from timmy.lightning.payouts import PAY, NothingOwed, OnEnded, Payout, PayoutInProgress
from timmy.lightning.wallets.protocol import Failed, NeverSent, PaymentOutcome
from timmy.money import Msats
from timmy.tasks import NewTask
from timmy.tasks.book import hasten

GIVE_BACK_AFTER_MS = 120_000  # of the last try: longer than any try may take to be made
OUTSIDE = "operator"  # the destination of what an operator paid by a way of their own


class NoSuchPayout(NotFound):
    code = "no_such_payout"
    title = "There is no such payout"


class PayoutEnded(Refusal):
    status = 409
    code = "payout_ended"
    title = "The payout has ended"


class MayStillArrive(Refusal):
    status = 409
    code = "payout_may_arrive"
    title = "The payment may still arrive"


class NoProof(Refusal):
    status = 422
    code = "payout_not_proved"
    title = "That does not prove the payment"


def let_leave(tx: Tx, payout_id: str, why: str, fee_limit: Msats | None, at_ms: int) -> Payout:
    """A payout that waits at a limit, or was laid aside, may exceed the limits and is tried at once. Raises NoSuchPayout, PayoutEnded."""
    payout = _planned(tx, payout_id)
    limit = payout.fee_limit if fee_limit is None else fee_limit  # none at all is a limit, too
    if not store.approve(tx, payout.id, why, limit.value):
        raise PayoutEnded(f"{payout_id} has ended a moment ago; timmy refunds list shows how.")
    task = NewTask(PAY, payout.id, at_ms)
    if not tasks.unpark(tx, task.id, at_ms):
        hasten(tx, task)
    return payout


def give_back(tx: Tx, seen: Payout, found: PaymentOutcome | None, why: str, at_ms: int) -> None:
    """A planned payout, as it was `seen` before the wallet was asked, is called off: its sats are owed again. `found`: what the wallet
    said of it; None if it was not asked, because nothing was ever tried.

    Raises MayStillArrive, NoSuchPayout, PayoutEnded."""
    if seen.tries and not isinstance(found, Failed | NeverSent):
        raise MayStillArrive(f"The wallet does not say that nothing is on its way ({type(found).__name__}). Ask again when it does.")
    if seen.tried_at_ms is not None and at_ms - seen.tried_at_ms < GIVE_BACK_AFTER_MS:
        raise MayStillArrive(f"It was tried less than {GIVE_BACK_AFTER_MS // 1_000} s ago. Stop payouts, wait, and ask again.")
    _cross_off(tx, seen.id)
    trouble = f"called off by the operator: {why}"
    # The count of tries is the guard: a worker notes its try in the transaction that allows it, and finds this payout ended, or we find
    # that it was faster.
    if not store.end_untried(tx, seen.id, seen.tries, trouble, at_ms):
        _planned(tx, seen.id)
        raise MayStillArrive("It was tried again just now. Stop payouts, wait, and ask again.")
    back = Move(f"payout/{seen.id}/returned", chart.in_flight(seen.id), seen.obligation, seen.amount, Code.PAYOUT_RETURNED)
    commit(tx, at_ms, back)
    events.append(tx, at_ms, [NewEvent(seen.subject, "refund", {"state": "pending", "trouble": trouble})])


def has_arrived(
    tx: Tx, payout_id: str, preimage: str, fee: Msats | None, why: str, at_ms: int, on_ended: OnEnded = payouts.tell_nobody
) -> Payout:
    """It arrived, and the operator has the proof that the wallet does not give; `on_ended` is told as of any other. Raises NoProof,
    NoSuchPayout, PayoutEnded."""
    _cross_off(tx, payout_id)  # first: whoever has it in hand has written its outcome before this, or writes nothing
    payout = _planned(tx, payout_id)
    if not bolt11.fits(preimage, payout.payment_hash):
        raise NoProof("The preimage does not belong to this payment: its SHA-256 must be the payment hash of the customer's invoice.")
    store.approve(tx, payout.id, why, payout.fee_limit.value)
    payouts.book_sent(tx, payout, fee, preimage, at_ms, on_ended)
    return payout


def paid_outside(tx: Tx, subject: str, id: str, why: str, at_ms: int) -> Msats:
    """The operator has paid what is owed by a way of their own: it is nobody's debt any more, and the sats in the wallet are the
    operator's. Raises NothingOwed, PayoutInProgress: while a payout is on its way, both could arrive."""
    obligation = chart.owed(subject)
    left = hold_still(tx, {obligation})[obligation].floor_sats().msats
    if store.live_payout(tx, obligation) is not None:
        raise PayoutInProgress("A payout of this is on its way. Wait until it has ended, or call it off first (--call-off).")
    if not left:
        raise NothingOwed(f"Nothing is owed to {subject}.")
    commit(tx, at_ms, Move(f"outside/{id}", obligation, chart.OPERATOR, left, Code.OPERATOR_CORRECTION))
    row = {
        "id": id, "obligation": obligation, "subject": subject, "payment_hash": f"outside/{id}", "payment_request": "",
        "amount_msat": left.value, "fee_limit_msat": 0, "destination": OUTSIDE, "place": None, "approved": why, "planned_at_ms": at_ms,
    }  # fmt: skip
    store.insert_payout(tx, row)
    store.end_payout(tx, {"id": id, "state": "sent", "fee_msat": 0, "preimage": None, "trouble": None, "at_ms": at_ms})
    events.append(tx, at_ms, [NewEvent(subject, "refund", {"state": "paid", "amountMsat": left.value, "feeMsat": 0})])
    return left


def _planned(tx: Tx, payout_id: str) -> Payout:
    payout = payouts.find(tx, payout_id)
    if payout is None:
        raise NoSuchPayout(f"No payout is called {payout_id}; timmy refunds list shows those that there are.")
    if payout.state != "planned":
        raise PayoutEnded(f"{payout_id} has ended: it was {payout.state}.")
    return payout


def _cross_off(tx: Tx, payout_id: str) -> None:
    tasks.cross_off(tx, [NewTask(PAY, payout_id, 0).id])
