"""The commands that move money: what they refuse to guess, what they say, and what stands in the books afterwards."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.test_cli import AT_MS, Run, ends_with, ledger_at, received, run

from timmy import tasks
from timmy.clock import SystemClock
from timmy.db import Tx
from timmy.jobs import store as jobs_store
from timmy.jobs.flow import REFUND_ADDRESS
from timmy.jobs.machine import REFUND_TO
from timmy.ledger import Code, Move, chart, commit
from timmy.lightning import bolt11, invoices, payouts, store
from timmy.lightning.invoices import Ask, Report
from timmy.lightning.wallets.protocol import Network
from timmy.money import Msats, Sats
from timmy.sessions import store as sessions_store

__all__ = ["ledger_at", "run"]

HASH = "ab" * 32
TERMS = payouts.Terms(
    network=Network.REGTEST, caps_fees=True, enabled=True, fee_limit_bp=100, fee_limit_min=Sats(1), uncapped_max=Sats(400),
    per_hour_max=Sats(2_000), per_day_max=Sats(3_000),
)  # fmt: skip


def stray(tx: Tx) -> None:
    invoices.settle_all(tx, [Report(HASH, Sats(70).msats, AT_MS)], {})


def test_what_was_paid_outside_is_owed_no_more(run: Run, ledger_at: Callable[..., None]) -> None:
    ledger_at(received(21_500))
    code, out, _ = run("refunds", "resolve", "job_1", "--paid-outside", "--reason", "by letter")
    assert (code, "21 sats are not owed to job_1 any more" in out) == (0, True)
    shown = json.loads(run("refunds", "list", "--json")[1])
    assert shown["owed"] == [{"to": "job_1", "msat": 500}]
    assert [(one["subject"], one["state"], one["approved"]) for one in shown["payouts"]] == [("job_1", "sent", "by letter")]
    assert run("ledger", "verify")[0] == 0


@pytest.mark.parametrize(
    "words",
    [
        ("resolve", "job_1", "--reason", "x"),
        ("resolve", "job_1", "--call-off", "--reason", "x"),
        ("resolve", "pay_1", "--paid-outside", "--reason", "x"),
        ("resolve", "pay_1", "--call-off", "--arrived", "00", "--reason", "x"),
        ("pay", "job_1", "--reason", "x"),
        ("pay", "pay_1", "lnbc1", "--reason", "x"),
        ("pay", "pay_1"),
    ],
)
def test_it_does_not_guess_what_was_meant(run: Run, ledger_at: Callable[..., None], words: tuple[str, ...]) -> None:
    ledger_at(received(21_500))
    assert run("refunds", *words)[0] == 2
    assert json.loads(run("refunds", "list", "--json")[1])["payouts"] == []


def test_a_claim_that_waits_already_gets_the_leave_and_one_that_has_arrived_says_so(
    run: Run, ledger_at: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The customer was faster than the operator, with the same invoice."""
    ledger_at(received(21_500))
    invoice = invoice_of(tmp_path, Sats(21))
    customers: list[payouts.Payout] = []

    def claim(tx: Tx) -> None:
        customers.append(
            payouts.plan(
                tx, id="pay_hers", obligation=chart.owed("job_1"), subject="job_1", invoice=bolt11.decode(invoice), destination="invoice",
                terms=TERMS, at_ms=SystemClock().now_ms(),
            )
        )  # fmt: skip

    ledger_at(claim)
    assert customers[0].approved is None
    found: list[payouts.Payout] = []
    for most in (3, 4):  # said again, it holds again
        code, out, _ = run("refunds", "pay", "job_1", invoice, "--reason", "she wrote", "--fee-limit", str(most))
        assert (code, "pay_hers" in out) == (0, True)
        ledger_at(lambda tx: found.extend(filter(None, [payouts.find(tx, "pay_hers")])))
        assert (found[-1].approved, found[-1].fee_limit) == ("she wrote", Sats(most).msats)
    ledger_at(lambda tx: tasks.cross_off(tx, ["pay/pay_hers"]), lambda tx: payouts.book_sent(tx, found[0], Msats(0), None, AT_MS))
    ended, _, err = ends_with(["refunds", "pay", "job_1", invoice, "--reason", "again"], capsys, monkeypatch)
    assert (ended, "has ended: it was sent" in err) == (2, True)


def test_after_a_refund_that_the_operator_proves_what_else_is_owed_goes_to_the_customers_address(
    run: Run, ledger_at: Callable[..., None]
) -> None:
    preimage = b"\x07" * 32

    def refund(tx: Tx) -> None:
        payout("pay_1", "planned", AT_MS, payment_hash=hashlib.sha256(preimage).hexdigest(), destination=REFUND_ADDRESS)(tx)
        of = {"id": "job_1", "state": "expired", "request": "Why?", "refund_to": "her@wallet.example", "pubkey": None}
        jobs_store.insert(tx, [{**of, "eval_fee_msat": 10_000, "eval_invoice": "inv_1", "at_ms": AT_MS}])

    ledger_at(refund, received(21_500))
    assert run("refunds", "resolve", "pay_1", "--arrived", preimage.hex(), "--reason", "her wallet shows it")[0] == 0
    waiting: list[str] = []
    ledger_at(lambda tx: waiting.extend(row["kind"] for row in tasks.waiting(tx)))
    assert REFUND_TO in waiting
    assert run("ledger", "verify")[0] == 0


def test_a_payout_that_does_not_exist_is_one_sentence(
    run: Run, ledger_at: Callable[..., None], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger_at(received(21_500))
    for words in (["pay", "pay_1"], ["resolve", "pay_1", "--call-off"], ["resolve", "pay_1", "--arrived", "00"]):
        code, _, err = ends_with(["refunds", *words, "--reason", "x"], capsys, monkeypatch)
        assert code == 2
        assert "timmy refunds list" in err


def test_what_is_owed_is_planned_with_the_operators_leave_for_the_server_to_pay(
    run: Run, ledger_at: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAYOUTS_MAX_SATS_PER_HOUR", "5")
    ledger_at(received(21_500))
    invoice = invoice_of(tmp_path, Sats(21))
    code, out, _ = run("refunds", "pay", "job_1", invoice, "--reason", "a large one", "--fee-limit", "3")
    assert (code, "will be paid by the server" in out) == (0, True)
    planned: list[payouts.Payout] = []
    ledger_at(lambda tx: planned.extend(filter(None, [payouts.obligation(tx, chart.owed("job_1")).live])))
    assert [(one.amount, one.fee_limit, one.approved) for one in planned] == [(Sats(21).msats, Sats(3).msats, "a large one")]
    assert run("ledger", "verify")[0] == 0
    code, out, _ = run("refunds", "resolve", planned[0].id, "--call-off", "--reason", "changed my mind")
    assert (code, "owed to job_1 again" in out) == (0, True)
    assert run("ledger", "verify")[0] == 0


def test_strays_are_listed_and_given_a_place(run: Run, ledger_at: Callable[..., None]) -> None:
    ledger_at(stray)
    code, out, _ = run("strays")
    assert (code, HASH in out, "unallocated" in out) == (1, True, True)
    assert run("strays", "give", HASH, "job_nobody", "--reason", "x")[0] == 2
    assert run("strays", "book", HASH, "--reason", "a year has passed")[0] == 0
    code, out, _ = run("strays", "--json")
    assert (code, [one["state"] for one in json.loads(out)["strays"]]) == (0, ["allocated"])
    assert run("ledger", "verify")[0] == 0


def test_a_stray_is_not_given_to_a_session_that_nobody_has_a_key_of(
    run: Run, ledger_at: Callable[..., None], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def sessions(tx: Tx) -> None:
        for id in ("ses_never", "ses_open"):
            of = {"id": id, "pubkey": None, "identifier": f"of {id}", "deposit_invoice": f"inv_{id}", "at_ms": AT_MS}
            invoices.note_asks(tx, [Ask(f"inv_{id}", "session_deposit", id, chart.session(id), Sats(5).msats, AT_MS, 60_000)])
            sessions_store.insert(tx, [of])
        sessions_store.mark_opened(tx, [{"id": "ses_open", "at_ms": AT_MS}])

    ledger_at(stray, sessions)
    code, _, err = ends_with(["strays", "give", HASH, "ses_never", "--reason", "x"], capsys, monkeypatch)
    assert (code, "timmy strays return" in err) == (2, True)
    assert json.loads(run("strays", "--json")[1])["strays"][0]["state"] == "unallocated"
    code, out, _ = run("strays", "give", HASH, "ses_open", "--reason", "she wrote")
    assert (code, "owed to ses_open" in out) == (0, True)
    assert run("ledger", "verify")[0] == 0


def test_a_stray_goes_back_to_whom_it_belongs(run: Run, ledger_at: Callable[..., None], tmp_path: Path) -> None:
    ledger_at(stray)
    code, out, _ = run("strays", "return", HASH, invoice_of(tmp_path, Sats(70)), "--reason", "she wrote")
    assert (code, "70 sats will be paid" in out) == (0, True)
    assert run("ledger", "verify")[0] == 0


def payout(
    id: str, state: str, at_ms: int, owed: str = "job_1", *, payment_hash: str = "", destination: str = "invoice"
) -> Callable[[Tx], object]:
    """A payout of 5 sats, planned at `at_ms`, with its sats where they belong."""

    def write(tx: Tx) -> None:
        account = chart.owed(owed)
        commit(tx, at_ms, Move(f"in/{id}", chart.LIGHTNING, account, Sats(5).msats, Code.PAYMENT_RECEIVED))
        commit(tx, at_ms, Move(f"payout/{id}/planned", account, chart.in_flight(id), Sats(5).msats, Code.PAYOUT_PLANNED))
        place = {"payment_hash": payment_hash or f"hash of {id}", "payment_request": "", "place": None, "approved": None}
        place["destination"] = destination
        of = {"id": id, "obligation": account, "subject": owed, "amount_msat": 5_000, "fee_limit_msat": 10, "planned_at_ms": at_ms}
        assert store.insert_payout(tx, {**of, **place})
        if state == "planned":
            return
        went = chart.LIGHTNING if state == "sent" else account
        code = Code.PAYOUT_SENT if state == "sent" else Code.PAYOUT_RETURNED
        commit(tx, at_ms, Move(f"payout/{id}/ended", chart.in_flight(id), went, Sats(5).msats, code))
        ended = {"id": id, "state": state, "fee_msat": 0, "preimage": None, "trouble": "no route" if state == "failed" else None}
        store.end_payout(tx, {**ended, "at_ms": at_ms})

    return write


def listed(run: Run, *words: str) -> list[tuple[str, bool]]:
    code, out, _ = run("refunds", "list", "--json", *words)
    assert code == 0
    return [(one["id"], one["needsYou"]) for one in json.loads(out)["payouts"]]


def test_what_needs_the_operator_comes_first_however_much_has_arrived_since(run: Run, ledger_at: Callable[..., None]) -> None:
    now_ms = SystemClock().now_ms()
    ledger_at(
        payout("pay_hangs", "planned", now_ms - 3_600_000, "job_hangs"),
        payout("pay_broke", "failed", now_ms - 7_200_000, "job_broke"),
        payout("pay_broke_then", "failed", now_ms - 9_000_000, "job_mended"),
        payout("pay_mended", "sent", now_ms - 8_000_000, "job_mended"),
        *(payout(f"pay_{n}", "sent", now_ms - n, f"job_{n}") for n in range(6)),
        payout("pay_new", "planned", now_ms, "job_new"),
    )
    needed = [("pay_broke", True), ("pay_hangs", True)]
    shown = listed(run, "--limit", "4")
    assert shown[:2] == needed
    assert ("pay_new", False) in shown
    assert len(shown) == 6
    assert listed(run, "--only", "attention") == needed
    assert listed(run, "--only", "on-its-way") == [("pay_new", False), ("pay_hangs", False)]
    assert listed(run, "--for", "job_3") == [("pay_3", False)]
    assert [one for one, _ in listed(run, "--only", "failed")] == ["pay_broke", "pay_broke_then"]
    text = run("refunds", "list")[1]
    assert text.index("do not get on by themselves") < text.index("pay_broke") < text.index("pay_5")
    assert "no route" in text


def test_one_customers_refunds_are_found_behind_however_many_others(run: Run, ledger_at: Callable[..., None]) -> None:
    ledger_at(
        *(payout(f"pay_{n}", "failed", AT_MS + n, f"job_{n}") for n in range(4)),
        payout("pay_z", "failed", AT_MS + 9, "job_z"),
    )
    shown = json.loads(run("refunds", "list", "--json", "--for", "job_z", "--limit", "1")[1])
    assert shown["owed"] == [{"to": "job_z", "msat": 5_000}]
    assert [(one["id"], one["needsYou"]) for one in shown["payouts"]] == [("pay_z", True)]


def invoice_of(tmp_path: Path, amount: Sats) -> str:
    """An invoice of the built-in customer of this ledger."""
    import asyncio

    from timmy.db import open_database
    from timmy.ids import system_random
    from timmy.lightning.wallets.builtin import BuiltinCustomer

    async def make() -> str:
        db = open_database(f"sqlite:///{tmp_path}/data/timmy.db")
        try:
            return await BuiltinCustomer(db, SystemClock(), system_random).create_invoice(amount.msats)
        finally:
            await db.aclose()

    return asyncio.run(make())
