"""The wallet beside the books: what is missing stops payouts, what was there before is the operator's."""

from __future__ import annotations

import pytest

from timmy.clock import ManualClock
from timmy.db import Database, Tx
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


async def ask(db: Database, amount: Msats) -> None:
    """An invoice that is shown to somebody."""
    row = {"id": "inv", "purpose": "p", "subject": "j", "account": chart.job("j"), "amount_msat": amount.value}
    times = {"created_at_ms": 1, "expires_at_ms": 2, "look_at_ms": 1}
    await db.write(store.insert_invoices, [{**row, **times}])


@pytest.mark.parametrize("own", [Msats(0), OWN])
async def test_a_payment_that_is_not_in_the_books_yet_is_not_taken_for_the_operators(
    db: Database, clock: ManualClock, purse: Purse, own: Msats
) -> None:
    """The first look at a new server, in the moment between the wallet's hearing of a payment and ours."""
    purse.holds = own + PAID
    await ask(db, PAID)
    reconciler = Reconciler(db, clock, purse)
    first = await reconciler.compare()
    assert first is not None
    assert (first.opened_now or Msats(0)) == own
    await db.write(settle)
    then = await reconciler.watch_once()
    assert then is not None
    assert (then.missing, then.surplus) == (Msats(0), Msats(0))


def settle(tx: Tx) -> None:
    tx.run("UPDATE invoices SET state = 'settled', payment_hash = 'h', received_msat = amount_msat")
    commit(tx, 1, Move("a payment", chart.LIGHTNING, chart.job("j"), PAID, Code.PAYMENT_RECEIVED))


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
