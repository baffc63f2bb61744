"""The commands that move money: what they refuse to guess, what they say, and what stands in the books afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.test_cli import AT_MS, Run, ends_with, ledger_at, received, run

from timmy.db import Tx
from timmy.lightning import invoices, payouts
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
    ledger_at(lambda tx: planned.extend(payouts.listed(tx, ["planned"])))
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


def invoice_of(tmp_path: Path, amount: Sats) -> str:
    """An invoice of the built-in customer of this ledger."""
    import asyncio

    from timmy.clock import SystemClock
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
