"""Money out, on paper: what is owed becomes a planned payout, and a planned payout is sent or comes back.

    owed ──plan──▶ planned (the sats are in `in_flight`, out of everybody's reach)
      ▲              │ ask the wallet first; pay only what it never sent; note each try before it is made
      │              ├── arrived: the preimage fits, or the wallet's look-up says so ──────────▶ sent
      │              ├── said failed by the wallet, and by two fresh look-ups after the last try ▶ failed ──┐
      │              └── anything else is unknown: it stays planned, and is asked about again               │
      └──────────────────────────────── the sats are owed again ◀──────────────────────────────────────────┘

Transaction 1 writes the plan, 2 notes the try, then comes the payment, 3 writes the outcome. A crash before 2 sent nothing. A crash
between 2 and 3 is what the look-up is for. Money is never given back because nobody answered: a payment that arrives after that would have
been paid twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from timmy import events, idempotency, tasks
from timmy.clock import SECOND_MS
from timmy.db import Row, Tx
from timmy.errors import Refusal
from timmy.events import NewEvent
from timmy.idempotency import Key
from timmy.ledger import Code, InsufficientFunds, Move, chart, commit
from timmy.ledger.commit import available, available_all, hold_still
from timmy.lightning import bolt11, store
from timmy.lightning.wallets.protocol import Network, Succeeded
from timmy.money import Msats, Sats
from timmy.tasks import NewTask, Task
from timmy.tasks.book import holds

PAY = "pay"
ASK_FEE = "ask_fee"  # of a payout that arrived, and whose wallet did not say what it cost
VERB = "payouts.plan"  # what an Idempotency-Key is for here
EXPIRY_MARGIN_SECONDS = 60
PAYOUTS_PER_OBLIGATION_MAX = 10
LOOKS_BEFORE_FAILED = 2
BREAKER = "payouts"
FIRST_ASK_FOR_FEE_MS = 10_000
WHOLE_BP = 10_000

log = structlog.get_logger("timmy.payouts")


class NothingOwed(Refusal):
    status = 409
    code = "nothing_owed"
    title = "There is nothing to pay back"


class PayoutInProgress(Refusal):
    status = 409
    code = "refund_in_progress"
    title = "A refund is on its way"


class InvoiceUsed(Refusal):
    status = 409
    code = "invoice_used"
    title = "That invoice was used before"


class InvoiceIsOurs(Refusal):
    status = 422
    code = "invoice_is_ours"
    title = "That is an invoice of this server"


class TooManyPayouts(Refusal):
    status = 409
    code = "refund_needs_operator"
    title = "This refund needs the operator"


@dataclass(frozen=True, slots=True)
class Leave:
    """An operator lets a payout exceed the limits."""

    why: str  # kept with the payout
    fee_limit: Msats | None = None  # instead of the terms'


@dataclass(frozen=True, slots=True)
class Terms:
    """What a payout may cost and how much may leave. `fee_limit`: the larger of a share of the amount and a floor."""

    network: Network
    enabled: bool  # False: nothing leaves; what is owed stays owed
    caps_fees: bool  # False: the wallet cannot hold a fee down, so only small payouts go out
    fee_limit_bp: int
    fee_limit_min: Sats
    uncapped_max: Sats
    per_hour_max: Sats
    per_day_max: Sats
    leave: Leave | None = None
    pays_amountless: bool = False  # the wallet can pay an invoice that leaves the amount to the payer

    def fee_limit(self, amount: Msats) -> Msats:
        if self.leave is not None and self.leave.fee_limit is not None:
            return self.leave.fee_limit
        return max(Msats(amount.value * self.fee_limit_bp // WHOLE_BP), self.fee_limit_min.msats)


@dataclass(frozen=True, slots=True)
class Payout:
    id: str
    obligation: str
    subject: str
    payment_hash: str
    payment_request: str
    amount: Msats
    fee_limit: Msats
    destination: str
    state: str  # planned, sent, failed
    tries: int
    tried_at_ms: int | None
    said_failed: int
    trouble: str | None
    place: str | None = None  # `lnurl.place_of` the address that it goes to; None: an invoice that was given as such
    approved: str | None = None  # who let it exceed the limits, and why


@dataclass(frozen=True, slots=True)
class Obligation:
    """How an obligation stands: what can be claimed now, what is on its way, what has arrived."""

    claimable: Sats
    live: Payout | None
    last: Payout | None
    paid: Sats


def keyed(tx: Tx, key: Key | None) -> Payout | None:
    """The payout that this Idempotency-Key has started before. Raises KeyReused."""
    id = idempotency.subject_of(tx, VERB, key) if key is not None else None
    return find(tx, id) if id is not None else None


def plan(
    tx: Tx,
    *,
    id: str,
    obligation: str,
    subject: str,
    invoice: bolt11.Invoice,
    destination: str,
    terms: Terms,
    at_ms: int,
    key: Key | None = None,
    place: str | None = None,
    amountless: bool = False,
) -> Payout:
    """Set what is owed aside for this invoice, and write down that it is to be paid. The same invoice again is the same payout, and so is
    another invoice of the same `place` while the first is on its way. `amountless`: it may leave the amount to us, if the wallet can.

    Raises the refusals of bolt11.check_refund_invoice, NothingOwed, PayoutInProgress, InvoiceUsed, InvoiceIsOurs, TooManyPayouts,
    KeyReused."""
    earlier_by_key = keyed(tx, key)
    if earlier_by_key is not None:
        return earlier_by_key
    hold_still(tx, {obligation})  # of two who ask at once, the second sees what the first has planned
    known = store.payout_of_hash(tx, invoice.payment_hash)
    if known is not None:
        if known["obligation"] == obligation and known["state"] != "failed":
            return _bound(tx, key, payout_of(known), at_ms)
        raise InvoiceUsed("That invoice was used for a payout before. Make a new one in your wallet.")
    if store.invoice_of_hash(tx, invoice.payment_hash) is not None:
        raise InvoiceIsOurs("That invoice was made by this server; it cannot pay itself. Make one in your own wallet.")
    earlier = store.payouts_of(tx, [obligation])
    live = _live_to(place, [payout_of(row) for row in earlier])
    if live is not None:
        return _bound(tx, key, live, at_ms)
    amount = available(tx, obligation).floor_sats().msats
    if not amount:
        raise NothingOwed("The refund was paid already." if any(row["state"] == "sent" for row in earlier) else "Nothing is owed here.")
    _check_terms(invoice, amount, terms, len(earlier), at_ms, amountless=amountless and terms.pays_amountless)
    payout = Payout(
        id, obligation, subject, invoice.payment_hash, invoice.payment_request, amount, terms.fee_limit(amount),
        destination, "planned", 0, None, 0, None, place, terms.leave.why if terms.leave else None,
    )  # fmt: skip
    _write_plan(tx, payout, at_ms)
    return _bound(tx, key, payout, at_ms)


def same_refund(tx: Tx, obligation: str, place: str, key: Key | None, at_ms: int) -> Payout | None:
    """The payout that this very refund is already: begun with this key, on its way to this place, or arrived there with nothing owed
    since. It is looked for before the place is asked for an invoice, because asked again it gives another one each time.

    Raises PayoutInProgress where one is on its way elsewhere, KeyReused."""
    earlier = keyed(tx, key)
    if earlier is not None:
        return earlier
    known = [payout_of(row) for row in store.payouts_of(tx, [obligation])]
    found = _live_to(place, known)
    if found is None and known and (known[-1].state, known[-1].place) == ("sent", place) and not available(tx, obligation).floor_sats():
        found = known[-1]
    return _bound(tx, key, found, at_ms) if found is not None else None


def _live_to(place: str | None, payouts: Sequence[Payout]) -> Payout | None:
    """The one that is on its way to this place. Raises PayoutInProgress if it goes elsewhere."""
    live = next((payout for payout in payouts if payout.state == "planned"), None)
    if live is not None and (place is None or live.place != place):
        raise PayoutInProgress("A refund to another place is on its way. Wait until it has arrived or failed.")
    return live


def _bound(tx: Tx, key: Key | None, payout: Payout, at_ms: int) -> Payout:
    """The answer, which this key has from now on."""
    if key is not None:
        idempotency.bind(tx, VERB, key, payout.id, at_ms)
    return payout


def _check_terms(invoice: bolt11.Invoice, amount: Msats, terms: Terms, earlier: int, at_ms: int, *, amountless: bool) -> None:
    bolt11.check_refund_invoice(
        invoice, network=terms.network, amount=amount, now_ms=at_ms, margin_seconds=EXPIRY_MARGIN_SECONDS, amountless=amountless
    )
    if terms.leave is not None:
        return
    if earlier >= PAYOUTS_PER_OBLIGATION_MAX:
        log.error("payouts.needs_operator", why="too many invoices failed", tried=earlier)
        raise TooManyPayouts(f"{earlier} invoices were tried and none could be paid. The operator has been told; your sats are kept.")
    most = min(terms.per_hour_max, terms.per_day_max)
    if amount > most.msats:
        log.error("payouts.needs_operator", why="above the hourly or daily limit", sats=amount.floor_sats().value)
        raise TooManyPayouts(
            f"At most {most.value} sats leave at once by themselves. Your sats are kept; ask the operator to raise the limit."
        )
    if not terms.caps_fees and amount > terms.uncapped_max.msats:
        log.error("payouts.needs_operator", why="the wallet cannot limit fees", sats=amount.floor_sats().value)
        raise TooManyPayouts(
            f"This wallet cannot limit routing fees, so it pays at most {terms.uncapped_max.value} sats by itself. "
            "The operator has been told; your sats are kept."
        )


def _write_plan(tx: Tx, payout: Payout, at_ms: int) -> None:
    account = chart.in_flight(payout.id)
    try:
        commit(tx, at_ms, Move(f"payout/{payout.id}/planned", payout.obligation, account, payout.amount, Code.PAYOUT_PLANNED))
    except InsufficientFunds:
        raise PayoutInProgress("Another refund of this was started just now. Look again in a moment.") from None
    row: Row = {
        "id": payout.id,
        "obligation": payout.obligation,
        "subject": payout.subject,
        "payment_hash": payout.payment_hash,
        "payment_request": payout.payment_request,
        "amount_msat": payout.amount.value,
        "fee_limit_msat": payout.fee_limit.value,
        "destination": payout.destination,
        "place": payout.place,
        "approved": payout.approved,
        "planned_at_ms": at_ms,
    }
    if not store.insert_payout(tx, row):
        raise PayoutInProgress("Another refund with this invoice was started just now. Look again in a moment.")
    tasks.add(tx, [NewTask(PAY, payout.id, at_ms)])
    events.append(tx, at_ms, [NewEvent(payout.subject, "refund", {"state": "pending"})])


def begin_try(tx: Tx, task: Task, payout: Payout, terms: Terms, at_ms: int) -> str | None:
    """Before the wallet is asked to pay. None: the try is written down, and it may; otherwise why nothing may be sent now."""
    if not holds(tx, task):
        return "another worker has taken this over"
    # Without the lock, payouts that are tried at the same moment would not see each other, and all pass the limit.
    store.lock_money_out(tx)
    why_not = _limit_reached(tx, payout, terms, at_ms)
    if why_not is None and not store.note_try(tx, payout.id, at_ms):
        return "it has ended meanwhile"
    return why_not


def note_said_failed(tx: Tx, task: Task, payout: Payout, said_failed: int, trouble: str) -> None:
    if holds(tx, task):
        store.note_said_failed(tx, payout.id, said_failed, trouble)


OnEnded = Callable[[Tx, Payout, int], None]
"""Told, in the transaction that ends a payout: there may be more to pay, or the same again."""


def tell_nobody(_tx: Tx, _payout: Payout, _at_ms: int) -> None: ...


def sent(tx: Tx, task: Task, payout: Payout, outcome: Succeeded, at_ms: int, on_ended: OnEnded = tell_nobody) -> None:
    """It arrived. Its sats have left our node, and the fee with them."""
    if task.id in tasks.finish(tx, [task]):
        book_sent(tx, payout, outcome.fee, outcome.preimage, at_ms, on_ended)


def book_sent(tx: Tx, payout: Payout, told_fee: Msats | None, preimage: str | None, at_ms: int, on_ended: OnEnded = tell_nobody) -> None:
    """By whoever has crossed its task off in this transaction. `told_fee`: None where the wallet does not say."""
    fee = told_fee or Msats(0)
    entries = [Move(f"payout/{payout.id}/sent", chart.in_flight(payout.id), chart.LIGHTNING, payout.amount, Code.PAYOUT_SENT)]
    if fee:
        entries.append(_fee_of(payout, fee))
    commit(tx, at_ms, *entries)
    on_ended(tx, payout, at_ms)
    _end(tx, payout, "sent", at_ms, fee_msat=fee.value if told_fee is not None else None, preimage=preimage)
    if told_fee is None:
        tasks.add(tx, [NewTask(ASK_FEE, payout.id, at_ms + FIRST_ASK_FOR_FEE_MS)])
    _check_fee(tx, payout, fee, at_ms)


def book_fee(tx: Tx, task: Task, payout: Payout, fee: Msats, at_ms: int) -> None:
    """The wallet has told it by now. What was reserved for it in the comparison with the wallet is free from here on."""
    if task.id not in tasks.finish(tx, [task]) or not store.note_fee(tx, payout.id, fee.value):
        return
    if fee:
        commit(tx, at_ms, _fee_of(payout, fee))
    _check_fee(tx, payout, fee, at_ms)


def _fee_of(payout: Payout, fee: Msats) -> Move:
    return Move(f"payout/{payout.id}/fee", chart.ROUTING_FEES, chart.LIGHTNING, fee, Code.ROUTING_FEE)


def _check_fee(tx: Tx, payout: Payout, fee: Msats, at_ms: int) -> None:
    if fee > payout.fee_limit:
        store.trip(tx, BREAKER, f"the wallet paid {fee.value} msat in fees where {payout.fee_limit.value} were allowed", at_ms)


def returned(tx: Tx, task: Task, payout: Payout, trouble: str, at_ms: int, on_ended: OnEnded = tell_nobody) -> None:
    """It will never arrive: the sats are owed again, claimable with another invoice."""
    if task.id not in tasks.finish(tx, [task]):
        return
    account = chart.in_flight(payout.id)
    commit(tx, at_ms, Move(f"payout/{payout.id}/returned", account, payout.obligation, payout.amount, Code.PAYOUT_RETURNED))
    on_ended(tx, payout, at_ms)
    _end(tx, payout, "failed", at_ms, trouble=trouble)


def _end(
    tx: Tx, payout: Payout, state: str, at_ms: int, *, fee_msat: int | None = None, preimage: str | None = None, trouble: str | None = None
) -> None:
    store.end_payout(tx, {"id": payout.id, "state": state, "fee_msat": fee_msat, "preimage": preimage, "trouble": trouble, "at_ms": at_ms})
    told: dict[str, object] = {"state": "pending", "trouble": trouble}
    if state == "sent":
        told = {"state": "paid", "amountMsat": payout.amount.value, "feeMsat": fee_msat or 0}
    events.append(tx, at_ms, [NewEvent(payout.subject, "refund", told)])


def _limit_reached(tx: Tx, payout: Payout, terms: Terms, at_ms: int) -> str | None:
    """Why nothing may leave right now: a breaker, or the most that may go out in an hour or a day. None: it may."""
    if not terms.enabled:
        return "the operator has switched payouts off"
    breaker = store.breaker(tx, BREAKER)
    if breaker is not None:
        return f"payouts are stopped: {breaker['reason']}"
    if payout.approved is not None:
        return None
    for hours, most in ((1, terms.per_hour_max), (24, terms.per_day_max)):
        out_msat = store.out_since(tx, at_ms - hours * 3_600 * SECOND_MS, besides=payout.id)
        if out_msat + payout.amount.value > most.msats.value:
            return f"{most.value} sats may leave in {hours} h, and that is reached"
    return None


def obligation(tx: Tx, account: str) -> Obligation:
    return obligations(tx, [account])[account]


def obligations(tx: Tx, accounts: Sequence[str]) -> dict[str, Obligation]:
    payouts: dict[str, list[Payout]] = {account: [] for account in accounts}
    for row in store.payouts_of(tx, accounts):
        payouts[row["obligation"]].append(payout_of(row))
    claimable = available_all(tx, accounts)
    return {account: _obligation(claimable[account], payouts[account]) for account in accounts}


def _obligation(claimable: Msats, payouts: Sequence[Payout]) -> Obligation:
    live = next((payout for payout in payouts if payout.state == "planned"), None)
    paid = sum(payout.amount.value for payout in payouts if payout.state == "sent")
    return Obligation(claimable.floor_sats(), live, payouts[-1] if payouts else None, Msats(paid).floor_sats())


def find(tx: Tx, id: str) -> Payout | None:
    row = store.payout(tx, id)
    return payout_of(row) if row else None


def payout_of(row: Row) -> Payout:
    return Payout(
        row["id"], row["obligation"], row["subject"], row["payment_hash"], row["payment_request"], Msats(row["amount_msat"]),
        Msats(row["fee_limit_msat"]), row["destination"], row["state"], row["tries"], row["tried_at_ms"], row["said_failed"],
        row["trouble"], row["place"], row["approved"],
    )  # fmt: skip
