"""What a payout cost, where the wallet did not say so at once: asked for again, reserved until it is told, and booked once."""

from __future__ import annotations

import pytest
from tests.contract.payout_counter import FEE, Counter, counter

from timmy.ledger import chart
from timmy.lightning.paying import FEE_ASKS_MAX
from timmy.lightning.reconcile import standing
from timmy.lightning.wallets.builtin_faults import Says
from timmy.lightning.wallets.protocol import Succeeded
from timmy.money import Msats, Sats

__all__ = ["counter"]


@pytest.mark.fault("D08", "A15")
@pytest.mark.parametrize("fee", [FEE, Msats(0), Sats(50).msats])
async def test_a_fee_that_was_not_told_stays_reserved_until_it_is_and_is_booked_then(counter: Counter, fee: Msats) -> None:
    await counter.owe()
    without_telling(counter)
    await counter.claim(await counter.invoice())
    await counter.work()
    payout = await counter.payout()
    assert payout.state == "sent"
    for _ in range(5):
        await counter.work(seconds=3_600)
        assert (await counter.db.read(standing)).leaving == payout.fee_limit
    counter.faults.always("lookup_payment", Says(Succeeded(None, fee)))
    await counter.work(seconds=6 * 3_600)
    await counter.work(seconds=24 * 3_600)
    assert (await counter.db.read(standing)).leaving == Msats(0)
    accounts = {row["id"]: row["balance_msat"] for row in (await counter.books())["accounts"]}
    assert -accounts.get(chart.ROUTING_FEES, 0) == fee.value
    assert (await counter.breaker() is not None) == (fee > payout.fee_limit)


async def test_a_fee_that_is_never_told_is_not_asked_for_for_ever(counter: Counter) -> None:
    await counter.owe()
    without_telling(counter)
    await counter.claim(await counter.invoice())
    await counter.work()
    for _ in range(FEE_ASKS_MAX + 5):
        await counter.work(seconds=6 * 3_600)
    asked = counter.faults.calls["lookup_payment"]
    await counter.work(seconds=30 * 24 * 3_600)
    assert counter.faults.calls["lookup_payment"] == asked
    assert (await counter.db.read(standing)).leaving == (await counter.payout()).fee_limit, "what it may have been stays reserved"


def without_telling(counter: Counter) -> None:
    """The next payment arrives, and the wallet does not say what it cost."""
    counter.faults.next("lookup_payment")
    counter.faults.always("lookup_payment", Says(Succeeded(None, None)))
    counter.faults.next("pay_invoice", Says(Succeeded(None, None)))
