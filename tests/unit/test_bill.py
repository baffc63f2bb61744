"""A receipt's bill, computed again from its own numbers: what does not add up is named, whoever signed it."""

from __future__ import annotations

import copy
import hashlib
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from timmy.cli import app
from timmy.client import receipts
from timmy.client.bill import bill_of
from timmy.client.receipts import ReceiptInvalid
from timmy.identity import nostr
from timmy.money import NanoUsd
from timmy.pricing.quote import BtcPrice, Rate, make_quote

PREIMAGES = ("11" * 32, "22" * 32)
HASHES = tuple(hashlib.sha256(bytes.fromhex(each)).hexdigest() for each in PREIMAGES)
# 1,000 tokens in, 100 of them cached, 500 out, at $3, $0.30 and $15 per million, and $0.001 of the machine: $0.01123. With 40 % on top at
# $100,000 for a bitcoin: 15,722 msat. The pool gave 5,000 of them.
TOLD: dict[str, Any] = {
    "type": receipts.TYPE, "version": 1, "of": "job", "state": "complete", "endedAt": "2026-01-01T00:00:00.000Z", "server": "",
    "promptSha256": hashlib.sha256(b"question").hexdigest(), "answerSha256": hashlib.sha256(b"answer").hexdigest(),
    "payments": [
        {"purpose": "eval", "paymentHash": HASHES[0], "amountSats": 10, "receivedMsat": 10_000, "preimage": PREIMAGES[0]},
        {"purpose": "work", "paymentHash": HASHES[1], "amountSats": 30, "receivedMsat": 30_000, "preimage": PREIMAGES[1]},
    ],
    "prices": [
        {
            "purpose": "work", "model": "m", "usdPerMillionTokens": {"input": 3, "cachedInput": 0.3, "output": 15},
            "infraUsd": 0.001, "marginPct": 40, "btcPriceUsd": 100_000, "btcPriceSource": "median of 5", "btcPriceAt": "2026",
        }
    ],
    "tokens": {"work": {"input": 1_000, "cachedInput": 100, "output": 500, "estimated": False}},
    "costUsd": 0.01123, "evalFeeMsat": 10_000, "heldMsat": 35_000, "chargedMsat": 10_722, "poolMsat": 5_000,
    "refund": {"state": "pending", "owedSats": 19, "paidSats": 0, "creditMsat": 278},
}  # fmt: skip


def signed(told: dict[str, Any]) -> str:
    """By somebody who may write into it what they like."""
    event = nostr.sign(b"\x05" * 32, created_at=1_700_000_000, kind=receipts.KIND, tags=[], content=json.dumps(told), aux=bytes(32))
    return json.dumps(nostr.document(event))


def with_(*path: str | int, to: object) -> dict[str, Any]:
    told = copy.deepcopy(TOLD)
    place: Any = told
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = to
    return told


def test_a_true_bill_adds_up_to_the_last_millisat() -> None:
    receipt = receipts.read(signed(TOLD))
    receipts.check_bill(receipt)
    assert receipt.bill.untold == ()
    assert [line.comes_to for line in receipt.bill.lines] == [11_230_000, 15_722, 1, 1, 19_278]


CHARGE, COST, REFUND = "chargedMsat + poolMsat", "costUsd", "refund"


@pytest.mark.parametrize(
    ("path", "to", "named"),
    [
        (("tokens", "work", "input"), 1_001, {COST, CHARGE}),
        (("tokens", "work", "cachedInput"), 99, {COST, CHARGE}),
        (("tokens", "work", "output"), 501, {COST, CHARGE}),
        (("prices", 0, "usdPerMillionTokens", "input"), 3.01, {COST, CHARGE}),
        (("prices", 0, "usdPerMillionTokens", "cachedInput"), 0.31, {COST, CHARGE}),
        (("prices", 0, "usdPerMillionTokens", "output"), 15.01, {COST, CHARGE}),
        (("prices", 0, "infraUsd"), 0.0011, {COST, CHARGE}),
        (("prices", 0, "marginPct"), 40.01, {CHARGE}),
        (("prices", 0, "btcPriceUsd"), 100_007.5, {CHARGE}),
        (("costUsd",), 0.011230001, {COST}),
        (("heldMsat",), 15_721, {CHARGE}),
        (("chargedMsat",), 10_723, {CHARGE, REFUND}),
        (("poolMsat",), 4_999, {CHARGE}),
        (("evalFeeMsat",), 9_999, {REFUND}),
        (("payments", 0, "receivedMsat"), 10_001, {REFUND}),
        (("payments", 1, "receivedMsat"), 29_999, {REFUND}),
        (("payments", 1, "preimage"), "33" * 32, {"preimage of the payment for work"}),
        (("payments", 0, "preimage"), "nonsense", {"preimage of the payment for eval"}),
        (("payments", 0, "paymentHash"), "44" * 32, {"preimage of the payment for eval"}),
        (("refund", "owedSats"), 18, {REFUND}),
        (("refund", "paidSats"), 1, {REFUND}),
        (("refund", "creditMsat"), 279, {REFUND}),
    ],
)
def test_each_number_that_is_altered_is_found_even_if_it_is_signed(path: tuple[str | int, ...], to: object, named: set[str]) -> None:
    receipt = receipts.read(signed(with_(*path, to=to)))
    assert {line.name for line in receipt.bill.wrong} == named
    with pytest.raises(ReceiptInvalid, match="does not add up"):
        receipts.check_bill(receipt)


@pytest.mark.parametrize(
    ("path", "to"),
    [
        (("tokens", "work", "input"), -1),
        (("tokens", "work", "input"), 1.5),
        (("tokens", "work"), {}),
        (("prices", 0, "marginPct"), "40"),
        (("prices", 0, "marginPct"), 40.001),
        (("prices", 0, "btcPriceUsd"), 0),
        (("prices", 0, "infraUsd"), 1e-300),
        (("prices", 0, "usdPerMillionTokens"), None),
        (("costUsd",), None),
        (("costUsd",), 1e300),
        (("chargedMsat",), 10**40),
        (("chargedMsat",), True),
        (("refund", "owedSats"), None),
    ],
)
def test_a_number_that_is_none_is_refused_in_a_sentence(path: tuple[str | int, ...], to: object) -> None:
    with pytest.raises(ReceiptInvalid, match="cannot be read"):
        receipts.read(signed(with_(*path, to=to)))


def test_what_an_older_receipt_does_not_tell_is_not_guessed() -> None:
    older = {name: value for name, value in TOLD.items() if name not in ("heldMsat", "evalFeeMsat")}
    bill = receipts.read(signed(older)).bill
    assert bill.wrong == ()
    assert bill.untold == ("chargedMsat", "refund")


def test_the_command_names_the_line_that_does_not_add_up(tmp_path: Path) -> None:
    path, body, run = tmp_path / "receipt.json", tmp_path / "body.json", CliRunner()
    path.write_text(signed(TOLD))
    body.write_bytes(b"question")
    held = run.invoke(app, ["receipt", "verify", str(path), "--body", str(body)])
    assert held.exit_code == 0, held.stderr
    assert "adds up" in held.stdout
    body.write_bytes(b"another")
    assert run.invoke(app, ["receipt", "verify", str(path), "--body", str(body)]).exit_code == 1
    path.write_text(signed(with_("poolMsat", to=4_000)))
    wrong = run.invoke(app, ["receipt", "verify", str(path)])
    assert wrong.exit_code == 1
    assert "chargedMsat + poolMsat: it says 14,722 millisats, and its own numbers come to 15,722" in " ".join(wrong.stderr.split())


AMOUNTS = st.integers(0, 10**12)


@given(
    st.tuples(AMOUNTS, AMOUNTS, AMOUNTS),
    AMOUNTS,
    st.integers(0, 50_000),
    st.integers(1, 10**10),
    st.lists(st.integers(0, 10**6), min_size=3, max_size=3),
)
def test_the_bill_is_the_servers_to_the_last_millisat(
    rates: tuple[int, int, int], infra: int, margin_bp: int, cents: int, tokens: list[int]
) -> None:
    """Two that were written apart agree about everything that could be sold."""
    asked, written, cached = tokens
    cached_rate = min(rates[0], rates[2])
    quote = make_quote(
        model="m", rate=Rate(rates[0], rates[1], cached_rate), btc=BtcPrice(cents, "", 0), margin_bp=margin_bp, infra=NanoUsd(infra),
        input_tokens=1, output_tokens=1,
    )  # fmt: skip
    cost, charge = quote.cost(asked, written, cached), quote.charge(asked, written, cached)
    nano = Decimal(10) ** -9
    told = {
        **TOLD, "payments": [], "refund": None, "heldMsat": 10**29, "chargedMsat": charge.value, "poolMsat": 0,
        "costUsd": cost.value * nano,
        "tokens": {"work": {"input": asked, "cachedInput": cached, "output": written}},
        "prices": [
            {
                "purpose": "work", "infraUsd": infra * nano, "marginPct": Decimal(margin_bp) / 100, "btcPriceUsd": Decimal(cents) / 100,
                "usdPerMillionTokens": {"input": rates[0] * nano, "output": rates[1] * nano, "cachedInput": cached_rate * nano},
            }
        ],
    }  # fmt: skip
    bill = bill_of(told)
    assert all(line.holds for line in bill.lines) or charge.value >= 2_100_000_000_000_000_000
