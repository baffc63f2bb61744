"""Finding out that we were paid: push, poll and sweep. The first two are hints; all three look at the wallet and end in `settle_all`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

import structlog

from timmy.clock import SECOND_MS, Clock
from timmy.db import Database, DatabaseDown, Row, Tx
from timmy.lightning import invoices, store
from timmy.lightning.invoices import Ask, Invoice, OnPaid, Report
from timmy.lightning.wallets.protocol import NewInvoice, Settled, Wallet, WalletDown
from timmy.money import Msats
from timmy.tasks import AskAgainLater, Bell, NewTask, Task

SWEEP = "sweep_invoices"
SWEEP_EVERY_MS = 1_000
SWEEP_MAX = 200
LOOKS_A_SECOND_MAX = 100
LOOKS_AT_ONCE = 8
LOOK_MIN_MS = 1_000
LOOK_MAX_MS = 30_000
LAPSE_GRACE_MS = 15_000  # a payment that left before the expiry may arrive a little after it
LATE_LOOK_MS = 600_000
LATE_LOOKS_END_MS = 7 * 24 * 3600 * SECOND_MS
NEVER_MS = 10**13
GLANCE_MS = 1_000  # a customer's poll looks at the wallet at most this often per invoice
GLANCES_KEPT_MAX = 10_000
LISTEN_AGAIN_MAX_SECONDS = 30

OnLapsed = Mapping[str, Callable[[Tx, Invoice, int], None]]
"""Purpose → who is told, in the transaction that closes it, that an invoice expired unpaid (`tx, invoice, at_ms`)."""

log = structlog.get_logger("timmy.lightning")


class Receiving:
    def __init__(
        self, db: Database, clock: Clock, wallet: Wallet, bell: Bell, *, ttl_seconds: int, on_paid: OnPaid, on_lapsed: OnLapsed
    ) -> None:
        self._db = db
        self._clock = clock
        self._wallet = wallet
        self._bell = bell
        self._ttl_seconds = ttl_seconds
        self._on_paid = on_paid
        self._on_lapsed = on_lapsed
        self._glanced: dict[str, int] = {}
        self.listening_since_ms: int | None = None  # None: this process does not listen
        self.heard_at_ms: int | None = None  # when the wallet last told of a payment
        self.push_trouble: str | None = None  # why nothing can be heard right now

    def settle_together(self, tx: Tx, reports: Sequence[Report]) -> list[None]:
        """`settle_all` as a grouped command: reports that come in together are one set of statements."""
        invoices.settle_all(tx, reports, self._on_paid)
        return [None] * len(reports)

    async def ask(self, *, id: str, purpose: str, subject: str, account: str, amount: Msats, memo: str) -> NewInvoice:
        """A new invoice from the wallet, its row written first. It may be shown once `invoices.open_all` has opened it.

        Raises WalletDown; the row then stays behind, harmless, until the sweep forgets it."""
        ask = Ask(id, purpose, subject, account, amount, self._clock.now_ms(), self._ttl_seconds * SECOND_MS)
        await self._db.write_grouped(invoices.note_asks, ask)
        return await self._wallet.create_invoice(amount, memo=memo, expiry_seconds=self._ttl_seconds, label=id)

    async def look(self, payment_hash: str) -> bool:
        """Ask the wallet about a hash; if it was paid, credit it. True: it is settled. Raises WalletDown."""
        found = await self._wallet.lookup_invoice(payment_hash)
        if not isinstance(found, Settled):
            return False
        await self.report(payment_hash, found.received)
        return True

    async def report(self, payment_hash: str, received: Msats) -> None:
        await self._db.write_grouped(self.settle_together, Report(payment_hash, received, self._clock.now_ms()))
        self._bell.ring()

    async def hint(self, payment_hash: str) -> None:
        """Somebody says that this hash may have been paid (a webhook, a customer who polls). Believed by nobody, checked at the wallet;
        hashes that are not ours, or were looked at a moment ago, cost no look-up."""
        now_ms = self._clock.now_ms()
        if self._glanced_lately(payment_hash, now_ms):
            return
        invoice = await self._db.read(invoices.find, payment_hash)
        # Asked again: whoever came while we were reading is here too, and between this line and the note nobody else gets in.
        if invoice is None or invoice.state == "settled" or self._glanced_lately(payment_hash, now_ms):
            return
        self._note_glance(payment_hash, now_ms)
        try:
            await self.look(payment_hash)
        except WalletDown:
            log.info("lightning.hint_unanswered")  # the sweep will find it

    def _glanced_lately(self, payment_hash: str, now_ms: int) -> bool:
        return now_ms - self._glanced.get(payment_hash, 0) < GLANCE_MS

    def _note_glance(self, payment_hash: str, now_ms: int) -> None:
        if len(self._glanced) >= GLANCES_KEPT_MAX:
            self._glanced = {hash: at_ms for hash, at_ms in self._glanced.items() if now_ms - at_ms < GLANCE_MS}
        self._glanced[payment_hash] = now_ms

    async def listen(self) -> None:
        """Until cancelled: what the wallet pushes. When it ends or breaks, listen again; what was missed, the sweep finds."""
        pause_seconds = 1.0
        self.listening_since_ms = self._clock.now_ms()
        while True:
            self.push_trouble = None
            try:
                async for payment_hash in self._wallet.settlements():
                    pause_seconds, self.heard_at_ms = 1.0, self._clock.now_ms()
                    await self.look(payment_hash)
            except (WalletDown, DatabaseDown) as down:
                self.push_trouble = down.message
                log.warning("lightning.push_lost", why=down.message)
            except Exception:  # one hash that cannot be credited must not end the listening for all others; the sweep looks at it again
                log.exception("lightning.push_broke")
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(LISTEN_AGAIN_MAX_SECONDS, pause_seconds * 2)

    @staticmethod
    def first_sweep(at_ms: int) -> NewTask:
        """The sweep is one task for all processes; it puts itself back for ever."""
        return NewTask(SWEEP, "lightning", at_ms)

    async def sweep(self, task: Task) -> None:
        """Handler of the sweep: look at every open invoice that is due for a look, at the recently lapsed ones now and then."""
        looked = await self.sweep_once()
        # Without the second, ten thousand orders that nobody pays keep a core and the operator's wallet busy for as long as they are open.
        # Who has paid is found by the wallet's push, and by their own poll, without the sweep.
        raise AskAgainLater("sweeping", after_seconds=max(SWEEP_EVERY_MS / SECOND_MS, looked / LOOKS_A_SECOND_MAX))

    async def sweep_once(self) -> int:
        """One round; how many invoices were looked at. The wallet being down postpones the looks and closes nothing."""
        due = await self._db.read(store.due_for_a_look, self._clock.now_ms(), SWEEP_MAX)
        gate = asyncio.Semaphore(LOOKS_AT_ONCE)

        async def one(row: Row) -> Row | None:
            async with gate:
                return await self._look_at(row)

        again = [row for row in await asyncio.gather(*(one(row) for row in due)) if row is not None]
        if again:
            await self._db.write(store.look_again, again)
        return len(due)

    async def _look_at(self, row: Row) -> Row | None:
        """When to look again; None when that is settled."""
        now_ms = self._clock.now_ms()
        if row["state"] == "asked":
            await self._db.write(store.forget_asked, [row["id"]])
            return None
        try:
            if await self.look(row["payment_hash"]):
                return None
        except WalletDown as down:
            log.warning("lightning.look_failed", why=down.message)
            return {"id": row["id"], "look_at_ms": now_ms + LOOK_MAX_MS // 6}
        except DatabaseDown:
            raise
        except Exception:  # passed on, it would park the sweep, and because of one invoice no payment of any other would be found
            log.exception("lightning.cannot_credit", invoice=row["id"])
            return {"id": row["id"], "look_at_ms": now_ms + LOOK_MAX_MS}
        if row["state"] == "open" and now_ms >= row["expires_at_ms"] + LAPSE_GRACE_MS:
            # Only after a look that said "unpaid": closed by the clock alone, a payment that we had not noticed yet would end
            # the job as expired although it was paid in time.
            await self._db.write(self._lapse, row, now_ms)
            self._bell.ring()
            return None
        return {"id": row["id"], "look_at_ms": now_ms + self._pause_ms(row, now_ms)}

    def _pause_ms(self, row: Row, now_ms: int) -> int:
        """Young invoices are looked at every second, old ones every half minute, lapsed ones ever more rarely for a week: after ten
        minutes, half an hour, an hour and a half, …"""
        if row["state"] == "lapsed":
            late_ms: int = now_ms - row["expires_at_ms"]
            return max(LATE_LOOK_MS, 2 * late_ms) if late_ms < LATE_LOOKS_END_MS else NEVER_MS
        age_ms: int = now_ms - row["created_at_ms"]
        pause = max(LOOK_MIN_MS, min(LOOK_MAX_MS, age_ms // 20))
        left_ms: int = row["expires_at_ms"] + LAPSE_GRACE_MS - now_ms
        return pause if left_ms <= 0 else min(pause, left_ms)

    def _lapse(self, tx: Tx, row: Row, at_ms: int) -> None:
        if store.lapse(tx, row["id"], at_ms + LATE_LOOK_MS):
            self._on_lapsed[row["purpose"]](tx, invoices.invoice_of(row), at_ms)
