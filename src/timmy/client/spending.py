"""Paying an invoice once, within the limits, whatever happens in between.

    reserve in the notebook → ask the wallet → write down what it said

A process may end between any two of these. The reservation stays, and counts; whoever comes later looks before anything is paid.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from enum import StrEnum
from typing import assert_never

from timmy.client import purses, store
from timmy.client.answers import Offer
from timmy.client.errors import InvoiceNotAsOffered, NoWallet, PaymentFailed
from timmy.client.notebook import Limits, Notebook, fee_limit
from timmy.client.purses import Purse
from timmy.lightning.wallets.protocol import Failed, InFlight, NeverSent, PaymentOutcome, Succeeded, Unknown, WalletDown
from timmy.money import Msats, Sats

LOOK_SECONDS = 0.5


class Fate(StrEnum):
    PAID = "paid"
    OPEN = "open"  # on its way, or nobody can tell: the server's word, or a later look, will


class Spending:
    """What one program spends, out of one purse, under its limits and those of the notebook."""

    def __init__(self, notebook: Notebook, purse: Purse | None, limits: Limits) -> None:
        self.notebook = notebook
        self.purse = purse
        self.limits = limits

    def fee_limit(self, amount: Sats) -> Msats:
        """What routing may cost on top."""
        return fee_limit(amount, adds_fees=self.purse is None or self.purse.adds_fees)

    def worst(self, amount: Sats) -> Msats:
        """What paying it takes at most."""
        return amount.msats + self.fee_limit(amount)

    async def check_room(self, amounts: Sequence[Sats], most: Limits, about: str) -> None:
        """LimitReached if these would not fit into the limits: better known before anything is begun. `about`: how they are told of."""
        needed = Msats(sum(self.worst(amount).value for amount in amounts if amount))
        about = f"{about}, {needed.ceil_sats().value} with routing fees at most, are"
        await self.notebook.check_room(needed, self.limits.narrowed(most), about)

    async def pay(self, purchase: str, purpose: str, offer: Offer, most: Limits | None = None) -> Fate:
        """Pay, unless it is paid. LimitReached, NoWallet, InvoiceNotAsOffered: nothing was sent. PaymentFailed: it surely did not arrive.

        WalletDown: the wallet cannot be asked; nothing was sent by this call."""
        purse = self.purse
        if purse is None:
            raise NoWallet(f"{offer.amount.value} sats are to be paid, and no wallet was given. A wallet is {purses.WAYS}.")
        known = await self.notebook.do(store.find_payment, offer.payment_hash)
        if known is None or known["state"] == "failed":
            purses.check(offer, purse.network, self.notebook.now_ms())
        limits = self.limits.narrowed(most) if most else self.limits
        match await self.notebook.reserve(purchase, purpose, offer, purse.name, self.fee_limit(offer.amount), limits):
            case "paid":
                return Fate.PAID
            case "ours":
                return await self._try(purse, offer)
            case _:
                return await self._take_up(purse, offer)

    async def _take_up(self, purse: Purse, offer: Offer) -> Fate:
        """It was begun, by whomever. The wallet is asked first; only what it has never seen, and nobody is at, is sent."""
        while True:
            outcome = await purse.lookup(offer.payment_hash)
            if not isinstance(outcome, NeverSent | Failed):
                return await self._note(offer, outcome)
            if await self.notebook.claim(offer.payment_hash):
                # Looked at again with the claim in hand: between the look and the claim, whoever held it may have paid.
                outcome = await purse.lookup(offer.payment_hash)
                if not isinstance(outcome, NeverSent | Failed):
                    return await self._note(offer, outcome)
                return await self._try(purse, offer)
            row = await self.notebook.do(store.find_payment, offer.payment_hash)
            if row is None or row["state"] == "paid":
                return Fate.PAID
            if row["state"] == "failed":
                raise PaymentFailed("Another program of yours tried to pay it and could not. Nothing was sent; try again.")
            await asyncio.sleep(LOOK_SECONDS)

    async def _try(self, purse: Purse, offer: Offer) -> Fate:
        try:
            try:
                purses.check(offer, purse.network, self.notebook.now_ms())
                outcome = await purse.pay(offer.payment_request, amount=offer.amount.msats, fee_limit=self.fee_limit(offer.amount))
            except (WalletDown, InvoiceNotAsOffered):
                await self.notebook.do(store.release, offer.payment_hash)  # they come only when nothing has left this machine
                raise
            if isinstance(outcome, Failed):
                outcome = await self._is_it_so(purse, offer, outcome)
            return await self._note(offer, outcome)
        except (WalletDown, InvoiceNotAsOffered, PaymentFailed):
            raise  # given back already: somebody else may have reserved it since, and be at it
        except BaseException:
            # Stopped in the middle of it, perhaps by the person, and be it while the outcome is written down: the reservation stays, only
            # its place at the wallet is free again.
            await asyncio.shield(self.notebook.do(store.let_go, offer.payment_hash))
            raise

    async def _is_it_so(self, purse: Purse, offer: Offer, failed: Failed) -> PaymentOutcome:
        """A wallet may also say no to a second try of what the first one has paid."""
        try:
            seen = await purse.lookup(offer.payment_hash)
        except WalletDown:
            return Unknown(failed.reason)
        return failed if isinstance(seen, NeverSent | Failed) else seen

    async def _note(self, offer: Offer, outcome: PaymentOutcome) -> Fate:
        match outcome:
            case Succeeded(preimage=preimage, fee=fee):
                counted = None if fee is None else (offer.amount.msats + fee).value
                await self.notebook.do(store.settle, offer.payment_hash, counted, preimage)
                return Fate.PAID
            case Failed(reason=reason):
                await self.notebook.do(store.release, offer.payment_hash)
                raise PaymentFailed(f"{reason} Nothing was sent: {offer.amount.value} sats are still yours.")
            case InFlight() | Unknown() | NeverSent():
                await self.notebook.do(store.let_go, offer.payment_hash)
                return Fate.OPEN
            case _:
                assert_never(outcome)

    async def seen_paid(self, offer: Offer) -> None:
        """The server has the sats. The wallet is asked for the fee and the proof, if it still can be."""
        row = await self.notebook.do(store.find_payment, offer.payment_hash)
        if row is None or row["state"] == "paid":
            return
        outcome = await self._ask(row)
        if isinstance(outcome, Succeeded):
            await self._note(offer, outcome)
        else:
            await self.notebook.do(store.settle, offer.payment_hash, None, None)

    async def seen_lapsed(self, offer: Offer) -> Fate | None:
        """The server has given up waiting for it, and has not got it yet. None: nothing of it can arrive any more, or nobody ever tried to
        pay it. OPEN: it may still arrive, and stays counted. PAID: it has left the wallet for good, and the server will see that."""
        row = await self.notebook.do(store.find_payment, offer.payment_hash)
        if row is None or row["state"] == "failed":
            return None
        if row["state"] == "paid":
            return Fate.PAID
        outcome = await self._ask(row)
        if isinstance(outcome, NeverSent | Failed):
            await self.notebook.do(store.release, offer.payment_hash)
            return None
        return await self._note(offer, outcome) if isinstance(outcome, Succeeded) else Fate.OPEN

    async def _ask(self, row: store.Row) -> PaymentOutcome:
        """The wallet that it was begun with, if it is the one at hand."""
        if row["wallet"] == purses.BY_HAND:
            return NeverSent()  # there is nobody to ask, now or ever; what the server has not seen is taken as not sent
        if self.purse is None or self.purse.name != row["wallet"]:
            return Unknown("the wallet that paid it is not at hand")
        try:
            return await self.purse.lookup(row["payment_hash"])
        except WalletDown as down:
            return Unknown(down.message)


def paid_with_fees(rows: list[store.Row]) -> Msats:
    """What the payments of a purchase took, as far as is known; what is of unknown fate is counted whole."""
    return Msats(sum(row["counted_msat"] for row in rows))
