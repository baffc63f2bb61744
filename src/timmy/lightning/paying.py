"""Money out, in deed: the outbox. It looks before it pays, and what it cannot know it asks about again."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import assert_never

import structlog

from timmy import tasks
from timmy.clock import SECOND_MS, Clock
from timmy.db import Database
from timmy.idempotency import Key
from timmy.ids import RandomBytes, new_id
from timmy.ledger.commit import available
from timmy.lightning import bolt11, payouts
from timmy.lightning.lnurl import LnurlClient, place_of
from timmy.lightning.payouts import LOOKS_BEFORE_FAILED, Leave, NothingOwed, OnEnded, Payout, Terms
from timmy.lightning.wallets.protocol import Failed, InFlight, NeverSent, PaymentOutcome, Succeeded, Unknown, Wallet
from timmy.tasks import AskAgainLater, Bell, Task

RESEND_AFTER_MS = 60_000  # "never sent", right after a try, may only mean that the wallet has not written it down yet
SEND_WITHIN_SECONDS = 20  # of noting a try: well before anybody else believes that it was never sent
LOOK_AGAIN_SECONDS = 2.0
ASK_AGAIN_MAX_SECONDS = 300.0
LIMIT_PAUSE_SECONDS = 60.0
FEE_ASK_MAX_SECONDS = 6 * 3_600.0
FEE_ASKS_MAX = 40  # about a week

log = structlog.get_logger("timmy.payouts")


class Paying:
    def __init__(
        self,
        db: Database,
        clock: Clock,
        wallet: Wallet,
        lnurl: LnurlClient,
        bell: Bell,
        terms: Terms,
        random_bytes: RandomBytes,
        on_ended: OnEnded = payouts.tell_nobody,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._db = db
        self._clock = clock
        self._wallet = wallet
        self._lnurl = lnurl
        self._bell = bell
        self._terms = terms
        self._random_bytes = random_bytes
        self._on_ended = on_ended
        self._monotonic = monotonic

    def with_leave(self, leave: Leave) -> Paying:
        """What it plans may exceed the limits, because the operator says so."""
        return Paying(
            self._db, self._clock, self._wallet, self._lnurl, self._bell, replace(self._terms, leave=leave), self._random_bytes,
            self._on_ended, monotonic=self._monotonic,
        )  # fmt: skip

    async def to_invoice(
        self,
        obligation: str,
        subject: str,
        payment_request: str,
        *,
        destination: str = "invoice",
        key: Key | None = None,
        place: str | None = None,
    ) -> Payout:
        """Plan to pay what is owed to this invoice. Raises the refusals of `payouts.plan`."""
        invoice = bolt11.decode(payment_request)
        payout = await self._db.write(
            payouts.plan,
            id=new_id("pay", self._random_bytes),
            obligation=obligation,
            subject=subject,
            invoice=invoice,
            destination=destination,
            terms=self._terms,
            at_ms=self._clock.now_ms(),
            key=key,
            place=place,
        )
        self._bell.ring()
        return payout

    async def to_address(self, obligation: str, subject: str, text: str, *, destination: str, key: Key | None = None) -> Payout:
        """Ask a Lightning address or an LNURL for an invoice of exactly what is owed, and plan to pay that.

        Raises the refusals and outages of lnurl.py and of `payouts.plan`. Asked for again, the same address is the same refund: it would
        give a new invoice each time, and the sats must leave once."""
        place = place_of(text)
        earlier = await self._db.write(payouts.same_refund, obligation, place, key, self._clock.now_ms())
        if earlier is not None:
            return earlier
        amount = (await self._db.read(available, obligation)).floor_sats().msats
        if not amount:
            state = await self._db.read(payouts.obligation, obligation)
            raise NothingOwed("The refund was paid already." if state.paid else "Nothing is owed here.")
        invoice = await self._lnurl.fetch_invoice(text, amount)
        return await self.to_invoice(obligation, subject, invoice, destination=destination, key=key, place=place)

    async def pay(self, task: Task) -> None:
        """Handler of a planned payout. Ends with the payout sent or failed; in between it raises AskAgainLater, for as long as it takes."""
        payout = await self._db.read(payouts.find, task.subject)
        if payout is None or payout.state != "planned":
            await self._db.write(tasks.finish, [task])
            return
        outcome = await self._wallet.lookup_payment(payout.payment_hash)
        if isinstance(outcome, NeverSent) and payout.trouble is None:
            outcome = await self._try(task, payout)
            if isinstance(outcome, Failed):  # its own word; two look-ups must agree before the sats are given back
                await self._db.write(payouts.note_said_failed, task, payout, 0, outcome.reason)
                raise AskAgainLater(f"said to have failed: {outcome.reason}", after_seconds=LOOK_AGAIN_SECONDS)
            if isinstance(outcome, Succeeded) and outcome.preimage is None:
                outcome = await self._wallet.lookup_payment(payout.payment_hash)
        await self._record(task, payout, outcome)
        self._bell.ring()

    async def ask_fee(self, task: Task) -> None:
        """Handler of a payout that arrived at a cost which the wallet did not tell: it is asked again, ever more rarely, for a week. Then
        the most that it may have been stays reserved, and `timmy reconcile` is what settles it."""
        payout = await self._db.read(payouts.find, task.subject)
        outcome = await self._wallet.lookup_payment(payout.payment_hash) if payout is not None else None
        if payout is not None and isinstance(outcome, Succeeded) and outcome.fee is not None:
            await self._db.write(payouts.book_fee, task, payout, outcome.fee, self._clock.now_ms())
        elif payout is not None and task.attempts < FEE_ASKS_MAX:
            raise AskAgainLater(
                "the wallet does not say what it cost", after_seconds=min(FEE_ASK_MAX_SECONDS, 10 * 2 ** min(task.attempts, 12))
            )
        else:
            log.warning("payouts.fee_never_told", payout=task.subject)
            await self._db.write(tasks.finish, [task])

    async def _try(self, task: Task, payout: Payout) -> PaymentOutcome:
        now_ms = self._clock.now_ms()
        if payout.tried_at_ms is not None and now_ms - payout.tried_at_ms < RESEND_AFTER_MS:
            return Unknown("tried a moment ago; the wallet may not have written it down yet")
        if not payout.tries and bolt11.decode(payout.payment_request).expired(now_ms):
            # Never tried, and now nobody would take it: the sats are owed again, and another invoice can be given.
            await self._db.write(payouts.returned, task, payout, "the invoice expired before it could be paid", now_ms, self._on_ended)
            raise AskAgainLater("the invoice expired")
        # Without this row, a crash during the payment would look like a payout that was never tried, and the
        # minute of waiting above would not be kept.
        begun_seconds = self._monotonic()
        why_not = await self._db.write(payouts.begin_try, task, payout, self._terms, now_ms)
        if why_not is not None:
            raise AskAgainLater(why_not, after_seconds=LIMIT_PAUSE_SECONDS)
        # A process that was stopped here and goes on an hour later would pay what somebody else has looked up, not found, and given back.
        # Two clocks, because the one stops while a machine sleeps, and the other is set by hand.
        passed_seconds = max(self._monotonic() - begun_seconds, (self._clock.now_ms() - now_ms) / SECOND_MS)
        if passed_seconds > SEND_WITHIN_SECONDS:
            log.warning("payouts.stood_still", payout=payout.id, seconds=round(passed_seconds))
            raise AskAgainLater("this process stood still between noting a try and making it", after_seconds=LOOK_AGAIN_SECONDS)
        return await self._wallet.pay_invoice(payout.payment_request, amount=payout.amount, fee_limit=payout.fee_limit)

    async def _record(self, task: Task, payout: Payout, outcome: PaymentOutcome) -> None:
        now_ms = self._clock.now_ms()
        match outcome:
            case Succeeded(preimage=preimage):
                if preimage is not None and not bolt11.fits(preimage, payout.payment_hash):
                    log.error("payouts.wrong_preimage", payout=payout.id)
                    raise self._later(task, "the wallet says that it arrived, with a preimage that does not fit")
                await self._db.write(payouts.sent, task, payout, outcome, now_ms, self._on_ended)
            case Failed(reason=reason):
                await self._said_failed(task, payout, reason)
            case NeverSent() if payout.trouble is None:
                # The attempt said that it arrived, its look-up knows nothing of it yet. Taken for a failure, this would be paid twice.
                raise self._later(task, "said to have arrived; the wallet has not written it down yet")
            case NeverSent():  # after a try that was said to have failed: some wallets forget those
                await self._said_failed(task, payout, payout.trouble or "never sent")
            case InFlight():
                await self._undecided(task, payout)
                raise self._later(task, "on its way")
            case Unknown(reason=reason):
                await self._undecided(task, payout)
                raise self._later(task, reason)
            case _:
                assert_never(outcome)

    async def _said_failed(self, task: Task, payout: Payout, reason: str) -> None:
        looks = payout.said_failed + 1
        if looks < LOOKS_BEFORE_FAILED:
            await self._db.write(payouts.note_said_failed, task, payout, looks, reason)
            raise AskAgainLater(f"said to have failed: {reason}", after_seconds=LOOK_AGAIN_SECONDS)
        log.warning("payouts.failed", payout=payout.id, why=reason)
        await self._db.write(payouts.returned, task, payout, reason, self._clock.now_ms(), self._on_ended)

    async def _undecided(self, task: Task, payout: Payout) -> None:
        """Look-ups count as agreeing only in a row."""
        if payout.said_failed:
            await self._db.write(payouts.note_said_failed, task, payout, 0, payout.trouble or "")

    def _later(self, task: Task, why: str) -> AskAgainLater:
        """The first questions come quickly (a payment takes seconds), then ever more slowly; they never end."""
        return AskAgainLater(why, after_seconds=min(ASK_AGAIN_MAX_SECONDS, 0.5 * 2 ** min(task.attempts - 1, 12)))
