"""The counter: where nodes are ordered, looked at, followed, collected, and where refunds are asked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import structlog

from timmy import events, idempotency, tasks
from timmy.bootstrap import store
from timmy.bootstrap.call_home import OrderTokens, Report
from timmy.bootstrap.clean_up import ERASE
from timmy.bootstrap.flow import FEE, ORDER, Opening, advance, open_order
from timmy.bootstrap.keys import KeyRoom, SealBroken, read_public_key
from timmy.bootstrap.machine import CameUp
from timmy.bootstrap.model import (
    BootstrapNews,
    BootstrapView,
    InvoiceView,
    KeyKind,
    KeyState,
    KeyView,
    RefundState,
    RefundView,
    State,
)
from timmy.bootstrap.protocol import Destination, ToInvoice, ToLightningAddress, ToLnurl, Wanted
from timmy.clock import SECOND_MS, Clock
from timmy.db import Database, Row, Tx
from timmy.errors import NotFound, Outage, Refusal
from timmy.idempotency import Key
from timmy.ids import RandomBytes, new_id
from timmy.ledger import chart
from timmy.ledger.commit import available
from timmy.lightning import invoices, payouts
from timmy.lightning.lnurl import check_lightning_address
from timmy.lightning.paying import Paying
from timmy.lightning.receiving import Receiving
from timmy.money import Msats, Sats
from timmy.tasks import Bell, NewTask

LOOK_EVERY_SECONDS = 0.5
FOLLOW_AFTER_THE_END_SECONDS = 60
AGAIN_WITHIN_MS = 10 * 60 * SECOND_MS  # the same claimant may have the key again for so long
REHEARSAL = "rehearsal"

log = structlog.get_logger("timmy.bootstrap")


class BootstrapNotFound(NotFound):
    code = "bootstrap_not_found"
    title = "There is no such order of a node"


class BootstrapUnderWay(Refusal):
    status = 409
    code = "bootstrap_not_finished"
    title = "The order has not ended yet"


class BootstrapOver(Refusal):
    status = 410
    code = "bootstrap_over"
    title = "Nobody waits for this node any more"


class NotOffered(Outage):
    code = "bootstrap_not_offered"
    title = "This server sells no nodes"
    retry_after_seconds = 3_600


class ClaimTokenInvalid(Refusal):
    status = 401
    code = "claim_token_invalid"
    title = "That claim token is not this order's"


class MachineNotKnownYet(Outage):
    code = "machine_not_known_yet"
    title = "The machine was faster than the cloud that tells of it"


class CallHomeTokenInvalid(Refusal):
    status = 401
    code = "call_home_token_invalid"
    title = "That token is not this machine's"


class Bootstraps:
    """The `BootstrapDesk` of the house."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        bell: Bell,
        random_bytes: RandomBytes,
        receiving: Receiving,
        paying: Paying,
        keys: KeyRoom,
        tokens: OrderTokens,
        *,
        fee: Sats,
        cloud: str,
        closed: str | None = None,
    ) -> None:
        """`cloud`: the name of the one where new orders are made. `closed`: why nothing is sold here, in a sentence."""
        self._db = db
        self._clock = clock
        self._bell = bell
        self._random_bytes = random_bytes
        self._receiving = receiving
        self._paying = paying
        self._keys = keys
        self._tokens = tokens
        self._fee = fee.msats
        self._cloud = cloud
        self._closed = closed
        self._glances: set[asyncio.Task[None]] = set()

    async def order(self, wanted: Wanted, *, key: Key | None = None) -> BootstrapView:
        """See BootstrapDesk.order."""
        if wanted.refund_to is not None:
            check_lightning_address(wanted.refund_to, "refundTo")
        if wanted.public_key is not None:
            wanted = Wanted(KeyKind.OWN, read_public_key(wanted.public_key), wanted.refund_to)
        if key is not None:
            earlier = await self._db.read(idempotency.subject_of, ORDER, key)
            if earlier is not None:
                return await self.view(earlier)
        if self._closed is not None:
            raise NotOffered(self._closed)
        order_id, invoice_id = new_id("bst", self._random_bytes), new_id("inv", self._random_bytes)
        invoice = await self._receiving.ask(
            id=invoice_id,
            purpose=FEE,
            subject=order_id,
            account=chart.bootstrap(order_id),
            amount=self._fee,
            memo=f"Timmy: a node, {order_id}",
        )
        opening = Opening(order_id, wanted, self._cloud, self._fee, invoice_id, invoice, key, self._clock.now_ms())
        return await self._load(await self._db.write(open_order, opening))

    async def view(self, order_id: str) -> BootstrapView:
        """See BootstrapDesk.view."""
        view = await self._load(order_id)
        if view.state is State.AWAITING_PAYMENT and not view.invoice.settled:
            self._glance(view.invoice.payment_hash)
        return view

    async def collect(self, order_id: str, claim: str | None = None) -> tuple[BootstrapView, str | None]:
        """See BootstrapDesk.collect."""
        view = await self.view(order_id)
        if claim is not None and not self._tokens.is_claim(order_id, claim):
            raise ClaimTokenInvalid(
                "That is not this order's claim token: that one is the claimToken of the answer that created it. Without one, leave it out."
            )
        if view.state is not State.READY or view.key.state not in (KeyState.WAITING, KeyState.DELIVERED):
            return view, None
        if not self._keys.has(order_id):  # with several machines, the folder of the seals is shared; on one, it was removed by hand
            log.error("bootstrap.seal_missing", order=order_id)
            return view, None
        sealed = await self._db.write(self._hand_over, order_id, claim is not None)
        if sealed is None:
            return await self._load(order_id), None
        try:
            private_key = self._keys.open(order_id, sealed)
        except SealBroken:
            private_key = None
        self._bell.tell()
        return await self._load(order_id), private_key

    def _hand_over(self, tx: Tx, order_id: str, is_claimant: bool) -> str | None:
        """What is sealed, for whoever may have it now: the decision is made by the row, once for all processes."""
        now_ms = self._clock.now_ms()
        row = store.lock(tx, [order_id])[order_id]
        sealed: str | None = row["sealed_key"]
        if sealed is None:
            return None
        if store.note_delivered(tx, order_id, now_ms):
            tasks.add(tx, [NewTask(ERASE, order_id, now_ms + AGAIN_WITHIN_MS)])
            events.append(tx, now_ms, [events.NewEvent(order_id, "key", {"state": "delivered"})])
            return sealed
        return sealed if is_claimant and now_ms < row["delivered_at_ms"] + AGAIN_WITHIN_MS else None

    async def follow(self, order_id: str, *, after_seq: int = 0) -> AsyncIterator[BootstrapNews]:
        """See BootstrapDesk.follow."""
        ended_at_ms: int | None = None
        seq = after_seq
        while True:
            view = await self.view(order_id)  # before the events: what it shows as ended has all its events already
            for event in await self._db.read(events.of_subject, order_id, seq):
                seq = event.seq
                yield BootstrapNews(event.seq, event.kind)
            if view.state.is_final:
                now_ms = self._clock.now_ms()
                ended_at_ms = ended_at_ms or now_ms
                on_its_way = view.refund.state is RefundState.PENDING and (view.refund.destination or view.refund_to)
                if not on_its_way or now_ms - ended_at_ms > FOLLOW_AFTER_THE_END_SECONDS * SECOND_MS:
                    return
            await self._bell.wait(LOOK_EVERY_SECONDS)

    async def refund(self, order_id: str, destination: Destination, *, key: Key | None = None) -> BootstrapView:
        """See BootstrapDesk.refund."""
        view = await self._load(order_id)
        obligation = chart.owed(order_id)
        if not view.state.is_final and not view.refund.owed:
            raise BootstrapUnderWay("The order has not ended yet. If it fails, its fee can be claimed here.")
        match destination:
            case ToInvoice(payment_request=text):
                await self._paying.to_invoice(obligation, order_id, text, key=key)
            case ToLightningAddress(address=text):
                check_lightning_address(text, "lightningAddress")
                await self._paying.to_address(obligation, order_id, text, destination="lightning_address", key=key)
            case ToLnurl(lnurl=text):
                await self._paying.to_address(obligation, order_id, text, destination="lnurl", key=key)
        return await self._load(order_id)

    async def called_home(self, order_id: str, token: str, report: Report) -> State:
        """See BootstrapDesk.called_home."""
        if not self._tokens.is_call_home(order_id, token):
            raise CallHomeTokenInvalid("This token is not the one that this machine was given.")
        state = await self._db.write(self._came_up, order_id, report)
        self._bell.ring()
        return state

    def _came_up(self, tx: Tx, order_id: str, report: Report) -> State:
        row = store.lock(tx, [order_id]).get(order_id)
        if row is None:
            raise BootstrapNotFound("There is no order with this id.")
        match State(row["state"]):
            case State.READY:
                return State.READY  # the answer to its first call was lost
            case State.PROVISIONING:
                if row["machine"] is None or row["address"] is None:
                    # Without this, a node that is up before we have found it would be ready, and then taken away as one too many.
                    raise MachineNotKnownYet("This machine is not known yet. Call again in a few seconds.")
                learned = {"lnbits_url": report.lnbits_url, "progress": "The node answers."}
                if report.tailscale_name:
                    learned["tailscale_name"] = report.tailscale_name
                store.note(tx, order_id, **learned)
                return advance(tx, order_id, CameUp(), self._clock.now_ms())
            case State.AWAITING_PAYMENT | State.FAILED | State.EXPIRED:
                raise BootstrapOver("This order has ended: the machine is being taken away.")

    def _glance(self, payment_hash: str) -> None:
        """Not awaited: a wallet that is slow must not make the customer's poll slow."""
        glance = asyncio.create_task(self._receiving.hint(payment_hash))
        self._glances.add(glance)
        glance.add_done_callback(self._glances.discard)

    async def _load(self, order_id: str) -> BootstrapView:
        view = await self._db.read(self._read, order_id)
        if view is None:
            raise BootstrapNotFound("There is no order of a node with this id. Check it, or order again.")
        return view

    def _read(self, tx: Tx, order_id: str) -> BootstrapView | None:
        row = store.find(tx, order_id)
        if row is None:
            return None
        invoice = invoices.by_id(tx, [row["invoice"]])[row["invoice"]]
        return BootstrapView(
            id=row["id"],
            state=State(row["state"]),
            is_rehearsal=row["cloud"] == REHEARSAL,
            created_at_ms=row["created_at_ms"],
            completed_at_ms=row["completed_at_ms"],
            invoice=InvoiceView(
                invoice.payment_request,
                invoice.payment_hash,
                invoice.amount.ceil_sats(),
                invoice.expires_at_ms,
                invoice.state == "settled",
            ),
            progress=row["progress"],
            reason=row["reason"],
            trouble=row["trouble"],
            address=row["address"],
            tailscale_name=row["tailscale_name"],
            lnbits_url=row["lnbits_url"],
            key=_key_view(row),
            refund=_refund(tx, row),
            refund_to=row["refund_to"],
            claim_token=self._tokens.claim(row["id"]),
        )


def _key_view(row: Row) -> KeyView:
    kind = KeyKind(row["key_kind"])
    delivered_at_ms = row["delivered_at_ms"]
    if kind is KeyKind.OWN:
        state = KeyState.OWN
    elif row["erased_at_ms"] is not None or (State(row["state"]) is State.READY and row["sealed_key"] is None):
        state = KeyState.ERASED
    elif delivered_at_ms is not None:
        state = KeyState.DELIVERED
    else:
        state = KeyState.WAITING if State(row["state"]) is State.READY else KeyState.NOT_YET
    again_until_ms = delivered_at_ms + AGAIN_WITHIN_MS if state is KeyState.DELIVERED else None
    return KeyView(kind, state, row["public_key"], delivered_at_ms, again_until_ms)


def _refund(tx: Tx, row: Row) -> RefundView:
    if not State(row["state"]).is_final:
        return RefundView(RefundState.NOT_APPLICABLE, Sats(0), Sats(0), Msats(0), None, None)
    owed = payouts.obligation(tx, chart.owed(row["id"]))
    on_its_way = owed.live.amount.floor_sats() if owed.live else Sats(0)
    shown = owed.live or owed.last
    return RefundView(
        state=RefundState.PENDING if owed.claimable or owed.live else RefundState.PAID if owed.paid else RefundState.NOT_APPLICABLE,
        owed=owed.claimable + on_its_way,
        paid=owed.paid,
        credit=available(tx, chart.bootstrap(row["id"])),
        destination=owed.live.destination if owed.live else None,
        trouble=shown.trouble if shown and shown.state != "sent" else None,
    )
