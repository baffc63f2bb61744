"""The commands that move money: what they refuse to guess, what they say, and what stands in the books afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.test_cli import AT_MS, Run, ends_with, ledger_at, received, run

from timmy.clock import SystemClock
from timmy.db import Tx
from timmy.ledger import Code, Move, chart, commit
from timmy.lightning import invoices, payouts, store
from timmy.lightning.invoices import Report
from timmy.money import Sats

__all__ = ["ledger_at", "run"]

HASH = "ab" * 32


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


def test_a_stray_goes_back_to_whom_it_belongs(run: Run, ledger_at: Callable[..., None], tmp_path: Path) -> None:
    ledger_at(stray)
    code, out, _ = run("strays", "return", HASH, invoice_of(tmp_path, Sats(70)), "--reason", "she wrote")
    assert (code, "70 sats will be paid" in out) == (0, True)
    assert run("ledger", "verify")[0] == 0


def payout(id: str, state: str, at_ms: int, owed: str = "job_1") -> Callable[[Tx], object]:
    """A payout of 5 sats, planned at `at_ms`, with its sats where they belong."""

    def write(tx: Tx) -> None:
        account = chart.owed(owed)
        commit(tx, at_ms, Move(f"in/{id}", chart.LIGHTNING, account, Sats(5).msats, Code.PAYMENT_RECEIVED))
        commit(tx, at_ms, Move(f"payout/{id}/planned", account, chart.in_flight(id), Sats(5).msats, Code.PAYOUT_PLANNED))
        place = {"payment_hash": f"hash of {id}", "payment_request": "", "destination": "invoice", "place": None, "approved": None}
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
