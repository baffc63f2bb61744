"""What a buyer must not forget: what was begun, what was paid, what may be spent, and the open sessions' keys.

One SQLite file, readable by its owner only, shared by all programs of that person. A payment's worst cost is reserved in it, against both
limits and in one transaction, before the wallet is asked; so programs that pay at once cannot spend more than the limits between them, and
neither can one that is killed and started again. With a purchase's first payment there must be room for those that will follow it, and that
room is kept: whoever has paid to be judged can pay for the work.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from timmy.client import store
from timmy.client.answers import Offer
from timmy.client.errors import LimitReached, NotebookBroken, OtherWallet
from timmy.client.purses import BY_HAND
from timmy.clock import SECOND_MS, Clock, SystemClock
from timmy.money import Msats, Sats

P = ParamSpec("P")
R = TypeVar("R")

FILE = "notebook.sqlite"
TRYING_SECONDS = 120  # longer than any wallet of ours takes to answer a payment
PER_CALL, PER_DAY = Sats(1_000), Sats(5_000)  # of a program that names no limits
FEE_LIMIT_BP, FEE_LIMIT_MIN = 100, Sats(5)  # what a payment's routing may cost: one percent, and at least so much


@dataclass(frozen=True, slots=True)
class Limits:
    """`per_call`: for one job, one session's deposit, one top-up. `per_day`: for all of them, from midnight to midnight UTC.
    Both with routing fees, in sats; what comes back as a refund is not taken off."""

    per_call: Sats | None = PER_CALL
    per_day: Sats | None = PER_DAY

    def narrowed(self, other: Limits) -> Limits:
        return Limits(_least(self.per_call, other.per_call), _least(self.per_day, other.per_day))


NO_LIMITS = Limits(None, None)


def _least(one: Sats | None, other: Sats | None) -> Sats | None:
    return min(one, other) if one is not None and other is not None else one if other is None else other


def fee_limit(amount: Sats, *, adds_fees: bool) -> Msats:
    if not adds_fees:
        return Msats(0)
    return max(FEE_LIMIT_MIN.msats, Msats(amount.msats.value * FEE_LIMIT_BP // 10_000))


def home() -> Path:
    """Where the notebook and the key are kept: TIMMY_HOME, or the place for a person's data (XDG Base Directory)."""
    given = os.environ.get("TIMMY_HOME")
    if given:
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "timmy"


class Notebook:
    """`path` None: the person's own, in `home()`. Made with owner-only permissions; a file that others may read is closed to them."""

    def __init__(self, path: Path | None = None, clock: Clock | None = None) -> None:
        self.path = path or home() / FILE
        self._clock = clock or SystemClock()
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
            self.path.chmod(0o600)
            store.transaction(self.path, store.prepare)
        except (OSError, sqlite3.Error) as trouble:
            raise NotebookBroken(f"{self.path}: {trouble}. Name another place with TIMMY_HOME.") from None

    def now_ms(self) -> int:
        return self._clock.now_ms()

    async def do(self, fn: Callable[Concatenate[sqlite3.Connection, P], R], *args: P.args, **named: P.kwargs) -> R:
        """A transaction, in a thread: another process may be in its own for a moment."""
        return await asyncio.to_thread(store.transaction, self.path, lambda tx: fn(tx, *args, **named))

    # What may be spent ---------------------------------------------------------------------------------

    async def limits(self) -> Limits:
        """Those that the notebook's owner has set for whatever program uses it; none of them by default."""
        return await self.do(_limits)

    async def set_limits(self, limits: Limits) -> None:
        """They hold for every program from now on; a program's own can only be narrower."""
        await self.do(store.set_limits, _msat(limits.per_call), _msat(limits.per_day))

    async def spent_today(self) -> Msats:
        """What is counted against the day: paid, or on its way, or of unknown fate, or kept for the work of what is being judged."""
        return Msats(await self.do(store.counted_in_day, day(self.now_ms())))

    async def check_room(self, needed: Msats, limits: Limits, about: str) -> None:
        """LimitReached if so much does not fit now. Nothing is kept: that is for `reserve`."""
        await self.do(_check, "", needed, limits, day(self.now_ms()), about)

    async def reserve(self, purchase: str, purpose: str, offer: Offer, wallet: str, fee: Msats, limits: Limits) -> str:
        """Count the worst that a payment may cost, `fee` for routing included, before it is tried. "ours": reserved, and nobody else is at
        it; "paid": it was paid before; "look": it was begun by another process or another run, and its fate is the wallet's to tell.

        Raises LimitReached, and OtherWallet for a payment that another wallet began."""
        return await self.do(_reserve, purchase, purpose, offer, wallet, fee, limits, self.now_ms())

    async def drop(self, purchase: str, why: str) -> None:
        """Nothing will come of it. What was paid for it, or may have been, is not dropped: that stays open."""
        await self.do(_drop, purchase, why, self.now_ms())

    async def claim(self, payment_hash: str) -> bool:
        now_ms = self.now_ms()
        return await self.do(store.claim, payment_hash, now_ms, now_ms + TRYING_SECONDS * SECOND_MS)


def day(now_ms: int) -> str:
    return datetime.fromtimestamp(now_ms // SECOND_MS, UTC).strftime("%Y-%m-%d")


def _limits(tx: sqlite3.Connection) -> Limits:
    row = store.limits(tx)
    return NO_LIMITS if row is None else Limits(_sats(row["per_call_msat"]), _sats(row["per_day_msat"]))


def _drop(tx: sqlite3.Connection, purchase: str, why: str, now_ms: int) -> None:
    if not store.counted_in_purchase(tx, purchase):
        store.end_purchase(tx, purchase, json.dumps({"refused": why}), now_ms)


def _reserve(
    tx: sqlite3.Connection, purchase: str, purpose: str, offer: Offer, wallet: str, fee: Msats, limits: Limits, now_ms: int
) -> str:
    known = store.find_payment(tx, offer.payment_hash)
    if known is not None and known["state"] == "paid":
        return "paid"
    if known is not None and known["state"] == "reserved":
        if known["wallet"] != wallet:
            if known["wallet"] == BY_HAND:
                raise OtherWallet(
                    f"It was begun by hand, and may have been paid that way, so {wallet} is not used for it. Go on by hand, which shows the"
                    " same invoice again: timmy ask --resume --wallet ''. Or let the invoice lapse: resume() ends it then."
                )
            raise OtherWallet(
                f"It was begun with {known['wallet']}, and may have arrived. Only that wallet can tell: go on with it, not with {wallet}."
            )
        return "look"
    needed, today = offer.amount.msats + fee, day(now_ms)
    ahead, estimated = Msats(store.room_beside(tx, purchase, purpose)), store.room_for(tx, purchase, purpose)
    about = f"It may cost {needed.ceil_sats().value} sats with routing fees"
    if ahead:
        about += f", {(needed + ahead).ceil_sats().value} with what follows it"
    elif estimated is not None and estimated < needed.value:
        about += f", and {Msats(estimated).ceil_sats().value} were estimated"
    _check(tx, purchase, needed + ahead, limits, today, f"{about}: that is")
    store.reserve(
        tx,
        payment_hash=offer.payment_hash,
        purchase=purchase,
        purpose=purpose,
        wallet=wallet,
        payment_request=offer.payment_request,
        amount_msat=offer.amount.msats.value,
        fee_limit_msat=fee.value,
        counted_msat=needed.value,
        day=today,
        trying_until_ms=now_ms + TRYING_SECONDS * SECOND_MS,
        now_ms=now_ms,
    )
    return "ours"


def _check(tx: sqlite3.Connection, purchase: str, needed: Msats, limits: Limits, today: str, about: str) -> None:
    """Against the program's limits and the notebook's. `purchase`: what has counted of it is of the same call, and its room is its own."""
    held, of_call = _limits(tx), store.counted_in_purchase(tx, purchase)
    for limit, words, own, everybodys, counted in (
        ("per_call", "this call", limits.per_call, held.per_call, of_call),
        ("per_day", "today", limits.per_day, held.per_day, store.counted_in_day(tx, today, but=purchase)),
    ):
        most = _least(own, everybodys)
        if most is None or counted + needed.value <= most.msats.value:
            continue
        left = Msats(max(0, most.msats.value - counted))
        whose = "notebook" if most == everybodys else "program"  # where both say the same, only the notebook's can not be passed by
        raise LimitReached(
            f"{about} more than the {left.floor_sats().value} that are left for {words}, of {most.value} by the {whose}'s limit."
            f" {'It was not' if of_call else 'Nothing was'} paid; raise that limit if that is what you want.",
            limit=limit,
            of=whose,
            neededMsat=needed.value,
            leftMsat=left.value,
        )


def _msat(amount: Sats | None) -> int | None:
    return None if amount is None else amount.msats.value


def _sats(amount_msat: int | None) -> Sats | None:
    return None if amount_msat is None else Msats(amount_msat).floor_sats()
