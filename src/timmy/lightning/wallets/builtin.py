"""The built-in wallet: nothing to install, nothing to configure, and real signed invoices on regtest.

Its sats are pretend. Everything else is as with a real node: invoices expire, payments fail, may be held for days or cost fees, and several
processes that share a database share one network. `BuiltinWallet` is Timmy's node, `BuiltinCustomer` is the node of someone who pays
Timmy and wants their change back; the demo, the development route and the tests pay with it.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from typing import Concatenate, ParamSpec, TypeVar

from timmy.clock import SECOND_MS, Clock
from timmy.db import Database, DatabaseDown, Row, Tx
from timmy.errors import Refusal
from timmy.ids import RandomBytes
from timmy.lightning import bolt11
from timmy.lightning.wallets import builtin_network as nodes
from timmy.lightning.wallets import builtin_store as store
from timmy.lightning.wallets.builtin_faults import ExtraFee, Faults, HeldFor, play
from timmy.lightning.wallets.facts import NodeFacts
from timmy.lightning.wallets.protocol import (
    Failed,
    InFlight,
    InvoiceLookup,
    Network,
    NeverSent,
    NewInvoice,
    NoSuchInvoice,
    PaymentOutcome,
    Settled,
    Succeeded,
    Unknown,
    Unpaid,
    WalletDown,
)
from timmy.money import Msats, Sats

P = ParamSpec("P")
R = TypeVar("R")

POLL_SECONDS = 0.5  # how late a payment that another process made may be noticed
HINTS_AT_ONCE = 256
HINTS_REPEATED_AT_START = 100  # a hint that was lost with the last process is given again; one too many costs a look-up
CUSTOMER_FLOAT = Sats(100_000_000).msats
NOTHING = Msats(0)


class CustomerCannotPay(Refusal):
    status = 422
    code = "customer_cannot_pay"
    title = "The pretend customer cannot pay that"


class _Node:
    """A name, a key and a balance in the database. Made at its first use, by whichever process comes first."""

    def __init__(self, db: Database, clock: Clock, random_bytes: RandomBytes, name: str, starting_balance: Msats) -> None:
        self.db, self.clock, self.random_bytes, self.name = db, clock, random_bytes, name
        self._starting_balance = starting_balance
        self._key: bytes | None = None

    async def key(self) -> bytes:
        if self._key is None:
            seeds = (self.random_bytes(32).hex(), self.random_bytes(32).hex())
            seed = await ask(self.db.write, _ensure_node, self.name, self._starting_balance.value, seeds)
            self._key = hmac.digest(bytes.fromhex(seed), b"the key that signs invoices", "sha256")
        return self._key

    async def create_invoice(self, amount: Msats | None, memo: str, expiry_seconds: int, label: str) -> NewInvoice:
        key = await self.key()
        preimage = self.random_bytes(32)
        payment_hash = hashlib.sha256(preimage).hexdigest()
        created_at_ms = self.clock.now_ms()
        request = bolt11.encode(
            network=Network.REGTEST,
            private_key=key,
            payment_hash=payment_hash,
            payment_secret=self.random_bytes(32),
            amount=amount,
            description=memo,
            created_at_ms=created_at_ms,
            expiry_seconds=expiry_seconds,
        )
        new = NewInvoice(payment_hash, request, expires_at_ms=(created_at_ms // SECOND_MS + expiry_seconds) * SECOND_MS)
        row: Row = {
            "payment_hash": payment_hash,
            "node": self.name,
            "label": label,
            "preimage": preimage.hex(),
            "payment_request": request,
            "amount_msat": None if amount is None else amount.value,
            "created_at_ms": created_at_ms,
            "expires_at_ms": new.expires_at_ms,
        }
        await ask(self.db.write, store.insert_invoice, row)
        return new

    async def lookup_invoice(self, payment_hash: str) -> InvoiceLookup:
        row = await ask(self.db.read, store.invoice, payment_hash)
        if row is None or row["node"] != self.name:
            return NoSuchInvoice()
        return Unpaid() if row["received_msat"] is None else Settled(Msats(row["received_msat"]), row["preimage"])

    async def balance(self) -> Msats:
        await self.key()
        row = await ask(self.db.read, store.node, self.name)
        assert row is not None, "a node is never deleted"
        return Msats(row["balance_msat"])


class BuiltinWallet:
    """Timmy's node. `fee` is what every payment costs; `faults` makes it misbehave on order (see builtin_faults.py).

    The database stays its owner's: closing the wallet only ends its `settlements()`. Raises WalletDown where the database is down.
    """

    name: str = "builtin"
    network: Network = Network.REGTEST
    caps_fees: bool = True
    pays_amountless: bool = True

    def __init__(
        self,
        db: Database,
        clock: Clock,
        random_bytes: RandomBytes,
        faults: Faults | None = None,
        *,
        starting_balance: Msats = NOTHING,
        fee: Msats = NOTHING,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self._node = _Node(db, clock, random_bytes, "timmy", starting_balance)
        self._faults = faults or Faults()
        self._fee = fee
        self._poll_seconds = poll_seconds
        self._bells: set[asyncio.Event] = set()  # one for each listener in this process
        self._closed = False

    async def create_invoice(self, amount: Msats, *, memo: str, expiry_seconds: int, label: str) -> NewInvoice:
        faults = self._faults.take("create_invoice")
        return await play(faults, lambda: self._node.create_invoice(amount, memo, expiry_seconds, label))

    async def lookup_invoice(self, payment_hash: str) -> InvoiceLookup:
        return await play(self._faults.take("lookup_invoice"), lambda: self._node.lookup_invoice(payment_hash))

    async def pay_invoice(self, payment_request: str, *, amount: Msats, fee_limit: Msats) -> PaymentOutcome:
        faults = self._faults.take("pay_invoice")
        try:
            invoice = bolt11.decode(payment_request)
        except bolt11.InvalidInvoice as broken:
            return Failed(broken.message)
        extra = sum((fault.fee for fault in faults if isinstance(fault, ExtraFee)), NOTHING)
        held = next((fault for fault in faults if isinstance(fault, HeldFor)), HeldFor(looks=0))
        attempt = nodes.Attempt(
            payer=self._node.name,
            invoice=invoice,
            amount=amount,
            fee=self._fee + extra,
            now_ms=self._node.clock.now_ms(),
            fee_limit=fee_limit,
            fee_uncapped=bool(extra),
            looks=held.looks,
            fails=held.fails,
        )
        return await play(faults, lambda: self._pay(attempt))

    async def _pay(self, attempt: nodes.Attempt) -> PaymentOutcome:
        await self._node.key()
        try:
            return await self._node.db.write(nodes.pay, attempt)
        except DatabaseDown as down:
            # The commit may have happened before the connection was lost. With WalletDown here, a caller could take it for unsent.
            return Unknown(f"the database did not answer: {down.message}")

    async def lookup_payment(self, payment_hash: str) -> PaymentOutcome:
        return await play(self._faults.take("lookup_payment"), lambda: self._look(payment_hash))

    async def _look(self, payment_hash: str) -> PaymentOutcome:
        row = await ask(self._node.db.read, store.payment, self._node.name, payment_hash)
        if row is None:
            return NeverSent()
        if row["state"] == "in_flight":
            return await ask(self._node.db.write, nodes.look, self._node.name, payment_hash)
        return nodes.outcome(row)

    async def balance(self) -> Msats:
        return await play(self._faults.take("balance"), self._node.balance)

    async def diagnose(self) -> NodeFacts:
        """See `Diagnosable`. There is no chain and there are no channels, so nothing is said of them."""
        await self._node.key()
        return NodeFacts(software="Timmy's own stand-in", listening=bool(self._bells) or None)

    async def settlements(self) -> AsyncGenerator[str, None]:
        """At once for payments that this process made, within `poll_seconds` for those of others. Ends when the wallet is closed."""
        bell = asyncio.Event()
        self._bells.add(bell)
        try:
            await play(self._faults.take("settlements"), self._node.key)
            node = await ask(self._node.db.read, store.node, self._node.name)
            cursor = max(0, (node["settlements"] if node else 0) - HINTS_REPEATED_AT_START)
            while not self._closed:
                rows = await ask(self._node.db.read, store.settled_after, self._node.name, cursor, HINTS_AT_ONCE)
                for row in rows:
                    cursor = row["cursor"]
                    for _ in range(0 if self._faults.hints_lost else 1 + self._faults.hints_repeated):
                        yield row["payment_hash"]
                if not rows:
                    with suppress(TimeoutError):
                        await asyncio.wait_for(bell.wait(), self._poll_seconds)
                    bell.clear()
        finally:
            self._bells.discard(bell)

    async def pay_own_invoice(self, payment_hash: str) -> bool:
        """The pretend customer pays an invoice of ours, an expired one too: what comes late is theirs to get back."""
        row = await ask(self._node.db.read, store.invoice, payment_hash)
        if row is None or row["node"] != self._node.name:
            return False
        if row["received_msat"] is None:
            customer = BuiltinCustomer(self._node.db, self._node.clock, self._node.random_bytes, wallet=self)
            await customer.pay(row["payment_request"], late=True)
        return True

    async def proof_of(self, payment_hash: str) -> str | None:
        """The preimage of an invoice of ours that was paid, as whoever paid it would have it."""
        row = await ask(self._node.db.read, store.invoice, payment_hash)
        if row is None or row["node"] != self._node.name or row["received_msat"] is None:
            return None
        preimage: str = row["preimage"]
        return preimage

    def ring(self) -> None:
        """Something may have been paid: look now instead of at the next poll."""
        for bell in self._bells:
            bell.set()

    async def aclose(self) -> None:
        self._closed = True
        self.ring()


class BuiltinCustomer:
    """Someone with a node of their own, who pays Timmy and is paid by Timmy. `wallet`: tell it at once, where it is in this process."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        random_bytes: RandomBytes,
        *,
        wallet: BuiltinWallet | None = None,
        name: str = "customer",
        starting_balance: Msats = CUSTOMER_FLOAT,
    ) -> None:
        self._node = _Node(db, clock, random_bytes, name, starting_balance)
        self._wallet = wallet

    async def create_invoice(self, amount: Msats | None, memo: str = "", expiry_seconds: int = 3_600) -> str:
        """A payment request of theirs; `None` leaves the amount to the payer."""
        new = await self._node.create_invoice(amount, memo, expiry_seconds, "")
        return new.payment_request

    async def lookup_invoice(self, payment_hash: str) -> InvoiceLookup:
        return await self._node.lookup_invoice(payment_hash)

    async def pay(self, payment_request: str, amount: Msats | None = None, *, late: bool = False) -> str:
        """Pay, and get the preimage. `amount`: send this instead of what is asked (too much, too little); `late`: even after it expired.

        Paid twice is paid once, with the first answer. Raises CustomerCannotPay and, for what is no invoice, InvalidInvoice.
        """
        invoice = bolt11.decode(payment_request)
        amount = amount or invoice.amount
        if amount is None:
            raise CustomerCannotPay("The invoice names no amount: say how much to send.")
        await self._node.key()
        attempt = nodes.Attempt(
            payer=self._node.name,
            invoice=invoice,
            amount=amount,
            fee=NOTHING,
            now_ms=self._node.clock.now_ms(),
            exact=False,
            late=late,
        )
        outcome = await ask(self._node.db.write, nodes.pay, attempt)
        if self._wallet is not None:
            self._wallet.ring()
        match outcome:
            case Succeeded(preimage=str(preimage)):
                return preimage
            case Failed(reason):
                raise CustomerCannotPay(f"The payment failed: {reason}.")
            case InFlight():
                raise CustomerCannotPay("The payment is on its way.")
            case _:
                raise AssertionError(f"a customer's payment cannot end as {type(outcome).__name__}")

    async def balance(self) -> Msats:
        return await self._node.balance()


async def ask(
    verb: Callable[Concatenate[Callable[Concatenate[Tx, P], R], P], Awaitable[R]],
    fn: Callable[Concatenate[Tx, P], R],
    *args: P.args,
    **kwargs: P.kwargs,
) -> R:
    """To this wallet the database is what a node is to another: without it, the wallet is down."""
    try:
        return await verb(fn, *args, **kwargs)
    except DatabaseDown as down:
        raise WalletDown(f"The built-in wallet's database is not answering: {down.message}") from down


def _ensure_node(tx: Tx, name: str, balance_msat: int, seeds: tuple[str, str]) -> str:
    store.insert_node(tx, name, seeds[0], balance_msat)
    store.insert_node(tx, nodes.ROUTES, seeds[1], 0)
    node = store.node(tx, name)
    assert node is not None, "it was just made, or was there before"
    return str(node["seed"])
