"""Money does not queue behind language models: whatever they do, payments are noticed and refunds leave."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

import pytest
from tests.contract.real_house import PATIENCE_SECONDS, SITE

from timmy.app import App, build
from timmy.clock import SystemClock
from timmy.db import Tx
from timmy.ledger import Code, Move, chart, commit
from timmy.lightning import invoices, payouts
from timmy.lightning.payouts import Payout
from timmy.models import Completion, Prompt
from timmy.models.builtin import BuiltinAgent
from timmy.money import Sats
from timmy.settings import Settings
from timmy.web.house import DevDesk

SLOTS = 2
OWED = Sats(5)


class Hanging(BuiltinAgent):
    """A model that takes every call and answers none."""

    def __init__(self) -> None:
        super().__init__()
        self.called = 0

    async def complete(self, prompt: Prompt, *, model: str, max_output_tokens: int) -> Completion:
        self.called += 1
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")


@pytest.mark.fault("D02", "D18")
async def test_with_every_model_call_hanging_a_refund_is_still_paid_and_a_payment_still_found(tmp_path: Path) -> None:
    model = Hanging()
    given = {"DATA_DIR": str(tmp_path), "BTC_PRICE_SOURCES": "", "PUBLIC_URL": SITE, "WORKERS": str(SLOTS)}
    async with build(Settings.load(given, dotenv=None), clock=SystemClock(), provider=model) as app, asyncio.timeout(PATIENCE_SECONDS):
        dev = cast(DevDesk, app.house.dev)
        for n in range(SLOTS + 1):
            job = await app.jobs.submit(f"Question {n}")
            await dev.pay(job.eval_invoice.payment_hash)
        while model.called < SLOTS:
            await asyncio.sleep(0.01)

        sent = await paid_back(app, await dev.customer_invoice(OWED))
        assert (sent.state, sent.amount) == ("sent", OWED.msats)

        late = await app.jobs.submit("And one that only the sweep can find")
        await app.wallet.pay_own_invoice(late.eval_invoice.payment_hash)  # type: ignore[attr-defined]
        while not await app.db.read(settled, late.eval_invoice.payment_hash):
            await asyncio.sleep(0.01)
        assert model.called == SLOTS, "the model had no slot to spare"


def settled(tx: Tx, payment_hash: str) -> bool:
    """A look that gives no hint, as a customer's poll would."""
    found = invoices.find(tx, payment_hash)
    return found is not None and found.state == "settled"


async def paid_back(app: App, payment_request: str) -> Payout:
    owed = chart.owed("job_x")
    await app.db.write(commit, app.clock.now_ms(), Move("in", chart.LIGHTNING, owed, OWED.msats, Code.PAYMENT_RECEIVED))
    payout = await app.paying.to_invoice(owed, "job_x", payment_request)
    while payout.state == "planned":
        await asyncio.sleep(0.01)
        found = await app.db.read(payouts.find, payout.id)
        assert found is not None
        payout = found
    return payout
