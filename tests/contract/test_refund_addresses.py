"""`refundTo`: paid without being asked, also when the first way there fails and when more comes to be owed meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.contract.real_house import open_house
from tests.e2e.serving import serving

from timmy.db import Tx
from timmy.jobs.flow import REFUND_ADDRESS, payout_ended
from timmy.jobs.machine import REFUND_TO
from timmy.ledger import Code, Move, chart, commit
from timmy.lightning import store
from timmy.lightning.payouts import PAYOUTS_PER_OBLIGATION_MAX, Payout
from timmy.money import Msats, Sats


async def test_a_refund_that_came_back_goes_to_the_address_again(database_url: str, tmp_path: Path) -> None:
    async with serving({"DATABASE_URL": database_url, "DATA_DIR": str(tmp_path), "POOL_SEED_SATS": "0"}) as site:
        made = await site.post("/api/jobs", {"request": "Hello", "refundTo": "me@wallet.invalid"}, status=201)
        job_id = made["jobId"]
        owed = chart.owed(job_id)
        await site.app.db.write(commit, 1, Move("paid", chart.LIGHTNING, owed, Sats(5).msats, Code.PAYMENT_RECEIVED))

        def ended(destination: str) -> Payout:
            return Payout("pay_x", owed, job_id, "00" * 32, "lnbcrt1", Sats(5).msats, Msats(0), destination, "planned", 1, 1, 2, "no route")

        await site.app.db.write(payout_ended, ended("invoice"), 10**15)
        assert await site.app.db.read(_waits, job_id) is False  # the customer claimed that one by hand, and will again
        await site.app.db.write(payout_ended, ended(REFUND_ADDRESS), 10**15)
        assert await site.app.db.read(_waits, job_id) is True


@pytest.mark.fault("D05")
async def test_the_house_sends_a_refund_that_came_back_to_the_address_again(tmp_path: Path) -> None:
    async with open_house(tmp_path, background=False, PAYOUTS_ENABLED="0") as house:
        made = await house.post("/api/jobs", {"request": "Hello", "refundTo": "me@wallet.invalid"}, status=201)
        job_id, owed = made["jobId"], chart.owed(made["jobId"])
        await house.app.db.write(commit, 1, Move("paid", chart.LIGHTNING, owed, Sats(5).msats, Code.PAYMENT_RECEIVED))
        dev = house.app.house.dev
        assert dev is not None
        invoice = await dev.customer_invoice(Sats(5))
        await house.app.paying.to_invoice(owed, job_id, invoice, destination=REFUND_ADDRESS)
        house.clock.advance(seconds=2 * 24 * 3_600)  # nobody would take it any more
        await house.app.run_due()
        assert await house.app.db.read(_waits, job_id) is True


@pytest.mark.fault("E22")
async def test_a_wallet_that_is_away_for_an_hour_does_not_use_up_what_is_tried_for_a_refund(database_url: str, tmp_path: Path) -> None:
    async with serving({"DATABASE_URL": database_url, "DATA_DIR": str(tmp_path), "POOL_SEED_SATS": "0"}) as site:
        made = await site.post("/api/jobs", {"request": "Hello", "refundTo": "me@wallet.invalid"}, status=201)
        job_id, owed = made["jobId"], chart.owed(made["jobId"])
        await site.app.db.write(commit, 1, Move("paid", chart.LIGHTNING, owed, Sats(5).msats, Code.PAYMENT_RECEIVED))
        ended = Payout("pay_x", owed, job_id, "00" * 32, "lnbcrt1", Sats(5).msats, Msats(0), REFUND_ADDRESS, "planned", 1, 1, 2, "no route")

        def fails(tx: Tx, n: int, at_ms: int) -> int:
            """When it is sent again after this one, which is the n-th."""
            tx.run("DELETE FROM tasks WHERE kind = :kind AND subject = :subject", kind=REFUND_TO, subject=job_id)
            payout_ended(tx, ended, at_ms)
            row = {"id": f"pay_{n}", "obligation": owed, "subject": job_id, "payment_hash": f"{n:064x}", "payment_request": "lnbcrt1"}
            row |= {"amount_msat": 5_000, "fee_limit_msat": 0, "destination": REFUND_ADDRESS, "place": None, "approved": None}
            assert store.insert_payout(tx, {**row, "planned_at_ms": at_ms})
            store.end_payout(tx, {"id": f"pay_{n}", "state": "failed", "fee_msat": None, "preimage": None, "trouble": "x", "at_ms": at_ms})
            (task,) = tx.all("SELECT run_at_ms FROM tasks WHERE kind = :kind AND subject = :subject", kind=REFUND_TO, subject=job_id)
            return int(task["run_at_ms"])

        begun_ms = at_ms = 10**15  # far ahead, so that nobody works on it
        sent_at_ms = [at_ms]
        for n in range(PAYOUTS_PER_OBLIGATION_MAX - 1):
            at_ms = await site.app.db.write(fails, n, at_ms)
            sent_at_ms.append(at_ms)
        assert sent_at_ms[1] == begun_ms + 60_000
        assert sum(at_ms < begun_ms + 3_600_000 for at_ms in sent_at_ms) == 5
        assert sent_at_ms[-1] > begun_ms + 6 * 86_400_000


async def test_what_is_no_lightning_address_is_not_read_as_an_lnurl(tmp_path: Path) -> None:
    async with open_house(tmp_path, background=False, INVOICE_TTL_SECONDS="60") as house:
        job = await house.post("/api/jobs", {"request": "Hello"}, status=201)
        node = await house.post("/api/bootstrap", {}, status=201)
        house.clock.advance(seconds=3_600)
        await house.app.receiving.sweep_once()
        for path in (f"/api/jobs/{job['jobId']}", f"/api/bootstrap/{node['bootstrapJobId']}"):
            assert (await house.get(path))["state"] == "expired"
            told = await house.post(f"{path}/refund", {"lightningAddress": "satoshi"}, status=422)
            assert told["code"] == "lightning_address_malformed"
            assert "lightningAddress must be" in told["error"]


def _waits(tx: Tx, job_id: str) -> bool:
    row = tx.one("SELECT id FROM tasks WHERE kind = :kind AND subject = :job", kind=REFUND_TO, job=job_id)
    return row is not None
