"""The wallet beside the books: what is missing stops payouts, what was there before is the operator's."""

from __future__ import annotations

import pytest

from timmy.clock import ManualClock
from timmy.db import Database
from timmy.ids import system_random
from timmy.ledger import Code, Move, audit, chart, commit
from timmy.lightning import payouts, store
from timmy.lightning.reconcile import ROUNDING, Reconciler
from timmy.lightning.wallets.builtin import BuiltinWallet
from timmy.money import Msats, Sats

OWN = Sats(5_000).msats
PAID = Sats(700).msats


class Purse(BuiltinWallet):
    """A node whose balance the test decides."""

    holds = OWN

    async def balance(self) -> Msats:
        return self.holds


@pytest.fixture
def purse(db: Database, clock: ManualClock) -> Purse:
    return Purse(db, clock, system_random)


async def receive(db: Database, amount: Msats) -> None:
    await db.write(commit, 1, Move("a payment", chart.LIGHTNING, chart.job("j"), amount, Code.PAYMENT_RECEIVED))


async def test_what_the_wallet_held_before_is_written_down_once_as_the_operators(db: Database, clock: ManualClock, purse: Purse) -> None:
    reconciler = Reconciler(db, clock, purse)
    first = await reconciler.compare()
    again = await reconciler.compare()
    assert first is not None
    assert again is not None
    assert first.opened_now == OWN
    assert (again.opened_now, again.missing, again.surplus) == (None, Msats(0), Msats(0))
    assert all(check.holds for check in await db.read(audit))


async def test_a_wallet_that_holds_what_came_in_agrees(db: Database, clock: ManualClock, purse: Purse) -> None:
    reconciler = Reconciler(db, clock, purse)
    await reconciler.compare()
    await receive(db, PAID)
    purse.holds = OWN + PAID
    found = await reconciler.watch_once()
    assert found is not None
    assert (found.missing, found.surplus) == (Msats(0), Msats(0))


async def test_missing_sats_stop_payouts_when_they_are_missing_twice(db: Database, clock: ManualClock, purse: Purse) -> None:
    reconciler = Reconciler(db, clock, purse)
    await reconciler.compare()
    await receive(db, PAID)  # and the wallet does not hold it
    once = await reconciler.watch_once()
    assert once is not None
    assert once.missing == PAID - ROUNDING
    assert await db.read(store.breaker, payouts.BREAKER) is None
    await reconciler.watch_once()
    breaker = await db.read(store.breaker, payouts.BREAKER)
    assert breaker is not None
    assert "less than the books say" in breaker["reason"]


async def test_an_explained_difference_is_one_entry_in_the_operators_name(db: Database, clock: ManualClock, purse: Purse) -> None:
    reconciler = Reconciler(db, clock, purse)
    await reconciler.compare()
    purse.holds = OWN - Sats(1_000).msats  # taken out
    await reconciler.accept("to cold storage")
    await reconciler.accept("to cold storage")
    found = await reconciler.compare()
    assert found is not None
    assert (found.missing, found.surplus) == (Msats(0), Msats(0))
    assert all(check.holds for check in await db.read(audit))
