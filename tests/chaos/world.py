"""The world around a server: a node, a language model, a customer. It lives on when the server dies, and remembers what was really done.

Every call that the server makes into it has a point before and a point after its effect at which the server can die.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field

from tests.chaos.endings import Ending, Judge, Pay, Work
from timmy.clock import SECOND_MS, ManualClock
from timmy.lightning import bolt11
from timmy.lightning.lnurl import DestinationDown
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
from timmy.models import Completion, Delta, Finish, Prompt, ProviderDown, ProviderRefused, Usage, trouble
from timmy.models.evaluate import request_judged_by
from timmy.money import Msats, Sats

NODE_FLOAT = Sats(1_000_000).msats
ROUTING_FEE = Msats(700)
GREEDY_FEE = Sats(90).msats  # above every cap of these tests
LONG_CALLS = 15
STRAY = Sats(77).msats
PIECE_MS = 300  # longer than the pause between two pieces of progress, so that each is written down


class Crash(BaseException):
    """The process is gone: nothing can catch this and go on."""


class Points:
    """Counts the points at which the process can die, and lets it die at one of them. A dead process does nothing any more."""

    def __init__(self, at: int | None = None) -> None:
        self.labels: list[str] = []
        self._at = at
        self._dead = False
        self._lock = threading.Lock()

    @property
    def is_dead(self) -> bool:
        return self._dead

    def __call__(self, label: str) -> None:
        with self._lock:
            if not self._dead:
                self.labels.append(label)
                self._dead = len(self.labels) == self._at
            if self._dead:
                raise Crash(label)


@dataclass(slots=True)
class Ours:
    """An invoice that the server's node made."""

    amount: Msats
    request: str
    expires_at_ms: int
    received: Msats | None = None


@dataclass(slots=True)
class Theirs:
    """An invoice of the customer, and what the server's node did about it."""

    preimage: str
    request: str
    amount: Msats
    pay: Pay
    state: str = "untried"  # then "held", "arrived" or "failed"
    tries: int = 0
    looks: int = 0
    arrivals: int = 0


@dataclass(slots=True)
class World:
    ending: Ending
    clock: ManualClock = field(default_factory=ManualClock)
    points: Points = field(default_factory=Points)
    ours: dict[str, Ours] = field(default_factory=dict)
    theirs: dict[str, Theirs] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    node: int = NODE_FLOAT.value
    paid_in: int = 0  # by the customer, msat
    paid_back: int = 0  # to the customer, msat
    drawn: int = 0

    def random_bytes(self, count: int) -> bytes:
        """Never the same twice, whichever life asks."""
        self.drawn += 1
        return hashlib.sha512(f"{self.ending.name} {self.drawn}".encode()).digest()[:count]

    # what the customer does; nothing here can be interrupted: it is not in the server's process

    def pay(self, payment_hash: str, amount: Msats) -> None:
        """The customer pays an invoice of the server. An invoice can be paid once."""
        ours = self.ours[payment_hash]
        if ours.received is None:
            ours.received = amount
            self.node += amount.value
            self.paid_in += amount.value

    def stray(self) -> str:
        """Somebody pays the server's node for something that the server knows nothing about."""
        new = self.made(STRAY, 600)
        self.ours[new.payment_hash].received = STRAY
        self.node += STRAY.value
        return new.payment_hash

    def customer_invoice(self, amount: Msats) -> str:
        preimage = self.random_bytes(32)
        request, _ = self._signed(preimage, amount, 86_400)
        pays = self.ending.payouts
        pay = pays[min(len(self.theirs), len(pays) - 1)]
        self.theirs[hashlib.sha256(preimage).hexdigest()] = Theirs(preimage.hex(), request, amount, pay)
        return request

    def made(self, amount: Msats, expiry_seconds: int) -> NewInvoice:
        preimage = self.random_bytes(32)
        request, expires_at_ms = self._signed(preimage, amount, expiry_seconds)
        payment_hash = hashlib.sha256(preimage).hexdigest()
        self.ours[payment_hash] = Ours(amount, request, expires_at_ms)
        return NewInvoice(payment_hash, request, expires_at_ms)

    def _signed(self, preimage: bytes, amount: Msats, expiry_seconds: int) -> tuple[str, int]:
        now_ms = self.clock.now_ms()
        request = bolt11.encode(
            network=Network.REGTEST,
            private_key=bytes(31) + b"\x01",
            payment_hash=hashlib.sha256(preimage).hexdigest(),
            payment_secret=preimage,
            amount=amount,
            description="",
            created_at_ms=now_ms,
            expiry_seconds=expiry_seconds,
        )
        return request, (now_ms // SECOND_MS + expiry_seconds) * SECOND_MS


class Node:
    """The server's wallet."""

    name = "world"
    network = Network.REGTEST
    caps_fees = True

    def __init__(self, world: World) -> None:
        self.world = world

    async def create_invoice(self, amount: Msats, *, memo: str, expiry_seconds: int, label: str) -> NewInvoice:
        self.world.points("before create_invoice")
        self.world.calls["create_invoice"] += 1
        if self.world.ending.offer_down and self.world.calls["create_invoice"] > 1 and "work" in memo:
            raise WalletDown("The Lightning wallet is not answering.")
        new = self.world.made(amount, expiry_seconds)
        self.world.points("after create_invoice")
        return new

    async def lookup_invoice(self, payment_hash: str) -> InvoiceLookup:
        self.world.points("before lookup_invoice")
        ours = self.world.ours.get(payment_hash)
        found: InvoiceLookup = NoSuchInvoice() if ours is None else Settled(ours.received) if ours.received else Unpaid()
        self.world.points(f"after lookup_invoice: {type(found).__name__}")
        return found

    async def pay_invoice(self, payment_request: str, *, amount: Msats, fee_limit: Msats) -> PaymentOutcome:
        self.world.points("before pay_invoice")
        invoice = bolt11.decode(payment_request)
        theirs = self.world.theirs[invoice.payment_hash]
        assert invoice.amount == amount == theirs.amount, "the server pays what it owes, and nothing else"
        if theirs.state in ("untried", "failed"):  # a node pays a hash once; one that failed it tries again
            theirs.tries += 1
            self._try(theirs, fee_limit)
        answer = self._answer(theirs)
        self.world.points(f"after pay_invoice: {type(answer).__name__}")
        return answer

    def _try(self, theirs: Theirs, fee_limit: Msats) -> None:
        pay = theirs.pay
        theirs.looks = 0
        if pay.lost_tries >= theirs.tries:
            raise WalletDown("The connection broke before the payment was sent.")
        if pay.held_looks:
            theirs.state = "held"
        elif pay.fails and theirs.tries == 1:
            theirs.state = "failed"
        else:
            self._arrive(theirs)
        assert pay.greedy or fee_limit >= ROUTING_FEE

    def _arrive(self, theirs: Theirs) -> None:
        theirs.state = "arrived"
        theirs.arrivals += 1
        fee = GREEDY_FEE if theirs.pay.greedy else ROUTING_FEE
        self.world.node -= theirs.amount.value + fee.value
        self.world.paid_back += theirs.amount.value

    def _answer(self, theirs: Theirs) -> PaymentOutcome:
        match theirs.pay.says:
            case "unknown":
                return Unknown("timed out")
            case "failed":
                return Failed("no route")
            case "no preimage":
                return Succeeded(None, None)
            case _:
                return self._truth(theirs)

    def _truth(self, theirs: Theirs) -> PaymentOutcome:
        if theirs.state == "arrived":
            wrong = theirs.looks <= theirs.pay.wrong_looks
            return Succeeded("00" * 32 if wrong else theirs.preimage, GREEDY_FEE if theirs.pay.greedy else ROUTING_FEE)
        if theirs.state == "failed":
            return NeverSent() if theirs.pay.forgotten and theirs.looks else Failed("no route")
        return InFlight() if theirs.state == "held" else NeverSent()

    async def lookup_payment(self, payment_hash: str) -> PaymentOutcome:
        self.world.points("before lookup_payment")
        theirs = self.world.theirs[payment_hash]
        if theirs.state != "untried":
            theirs.looks += 1
        if theirs.state == "held" and theirs.looks >= theirs.pay.held_looks:
            if theirs.pay.fails:
                theirs.state = "failed"
            else:
                self._arrive(theirs)
        found = NeverSent() if theirs.looks <= theirs.pay.hidden_looks else self._truth(theirs)
        self.world.points(f"after lookup_payment: {type(found).__name__}")
        return found

    async def settlements(self) -> AsyncIterator[str]:
        """Pushes nothing: the lives ask instead, so that each is lived in one order."""
        nothing: tuple[str, ...] = ()
        for payment_hash in nothing:
            yield payment_hash

    async def balance(self) -> Msats:
        return Msats(self.world.node)

    async def aclose(self) -> None: ...


class Street:
    """Stands for the internet, on which the customer's Lightning address lives."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def fetch_invoice(self, destination: str, amount: Msats, comment: str | None = None) -> str:
        self.world.points("before fetch_invoice")
        self.world.calls["fetch_invoice"] += 1
        if self.world.calls["fetch_invoice"] <= self.world.ending.address_down:
            raise DestinationDown("example.com did not answer within 5 seconds.")
        invoice = self.world.customer_invoice(amount)
        self.world.points("after fetch_invoice")
        return invoice


class Model:
    """The language model: judges with `complete`, works with `stream`."""

    name = "world"

    def __init__(self, world: World) -> None:
        self.world = world

    async def complete(self, prompt: Prompt, *, model: str, max_output_tokens: int) -> Completion:
        self.world.points("before complete")
        assert request_judged_by(prompt) is not None
        self.world.calls["judge"] += 1
        judge = self.world.ending.judge
        if judge is Judge.DOWN:
            raise ProviderDown
        if judge is Judge.REFUSES:
            raise ProviderRefused
        if judge is Judge.LOCKED_OUT:
            raise trouble.refused(trouble.Refused.BAD_KEY)
        said = json.dumps({"accept": judge is Judge.YES, "reason": "because"})
        self.world.points("after complete")
        return Completion(said, Usage(100, 20), Finish.STOP)

    async def stream(self, prompt: Prompt, *, model: str, max_output_tokens: int) -> AsyncGenerator[Delta | Completion, None]:
        self.world.points("before stream")
        self.world.calls["work"] += 1
        work = self.world.ending.work
        if work is Work.DOWN or (work is Work.DOWN_LONG and self.world.calls["work"] <= LONG_CALLS):
            raise ProviderDown
        if work is Work.REFUSES:
            raise ProviderRefused
        if work is Work.LOCKED_OUT:
            raise trouble.refused(trouble.Refused.BAD_KEY)
        for piece in () if work is Work.EMPTY else ("forty", "-", "two"):
            self.world.clock.advance(ms=PIECE_MS)
            self.world.points("stream")
            yield Delta(piece)
        if work is Work.EMPTY:
            yield Completion("", Usage(150, 0), Finish.STOP)
            return
        usage = Usage(10**9, 10**9) if work is Work.DEAR else Usage(150, max_output_tokens if work is Work.CUT else 40)
        self.world.points("after stream")
        yield Completion("forty-two", usage, Finish.LENGTH if work is Work.CUT else Finish.STOP)

    async def check(self) -> None: ...

    async def aclose(self) -> None: ...
