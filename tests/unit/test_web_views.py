"""A job on the wire: exact numbers, and the names of the contract."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.contract.http_desk import EVAL_FEE, NOTHING_OWED, QUOTE

from timmy.errors import Breach, Refusal
from timmy.jobs.model import CostLedger, InvoiceView, JobView, RefundState, RefundView, State
from timmy.models import Usage
from timmy.money import Msats, NanoUsd, Sats
from timmy.web import views
from timmy.web.problems import STANDARD, document
from timmy.web.render import to_json

JOB = JobView(
    id="job_1",
    state=State.AWAITING_EVAL_PAYMENT,
    request="Why?",
    created_at_ms=1_700_000_000_123,
    completed_at_ms=None,
    trust_tier="anonymous",
    eval_invoice=InvoiceView("lnbcrt1…", "ab" * 32, EVAL_FEE, 1_700_000_600_000, settled=False),
    work_invoice=None,
    quote=None,
    reason=None,
    waiting=None,
    result=None,
    truncated=False,
    cost=None,
    refund=NOTHING_OWED,
    refund_to=None,
)


def decimals(value: object) -> Decimal:
    """As a careful reader sees it: the digits on the wire."""
    found = json.loads(to_json(value), parse_float=Decimal, parse_int=Decimal)
    assert isinstance(found, Decimal)
    return found


@given(st.integers(0, 10**15 - 1))
def test_dollars_on_the_wire_have_the_digits_of_the_ledger(nano: int) -> None:
    assert decimals(views.dollars(NanoUsd(nano))) == Decimal(nano).scaleb(-9)


@given(st.integers(0, 10**13))
def test_percents_and_prices_on_the_wire_are_exact(hundredths: int) -> None:
    assert decimals(views.hundredths(hundredths)) == Decimal(hundredths).scaleb(-2)


def test_times_are_iso_8601_in_utc() -> None:
    shown = views.job(JOB)
    assert shown["createdAt"] == "2023-11-14T22:13:20.123Z"
    assert shown["completedAt"] is None


def test_an_invoice_is_the_same_object_everywhere() -> None:
    shown = views.job(replace(JOB, work_invoice=JOB.eval_invoice))
    assert shown["evalInvoice"] == shown["workInvoice"] == views.created(JOB)["evalInvoice"]
    assert list(views.invoice(JOB.eval_invoice)) == ["paymentRequest", "paymentHash", "amountSats", "expiresAt"]


@given(paid=st.integers(1, 10**6), share=st.integers(0, 1000))
def test_what_was_charged_and_what_goes_back_are_what_was_paid(paid: int, share: int) -> None:
    charged = Msats(paid * share)
    left = Sats(paid).msats - charged
    owed = left.floor_sats()
    refund = RefundView(RefundState.PENDING if owed else RefundState.NOT_APPLICABLE, owed, Sats(0), left - owed.msats, None, None)
    shown = views.cost_ledger(CostLedger(Usage(1, 2), NanoUsd(0), charged, Sats(paid).msats), refund)
    charged_sats, back = shown["actualAmountSats"], shown["refundAmountSats"]
    assert isinstance(charged_sats, int)
    assert isinstance(back, int)
    assert charged_sats + back == shown["workAmountSats"] == paid


def test_the_answer_to_a_creation_does_not_change_with_the_job() -> None:
    assert views.created(replace(JOB, state=State.COMPLETE, result="!")) == views.created(JOB)


def test_the_price_comes_with_its_reasons() -> None:
    shown = views.job(replace(JOB, quote=QUOTE))["pricingBreakdown"]
    assert shown == {
        "estimatedCostUsd": 0.015,
        "infraCostUsd": 0.001,
        "marginPct": 40,
        "btcPriceUsd": 100_000,
        "btcPriceSource": "fallback",
        "model": "timmy-demo",
        "estimatedInputTokens": 120,
        "estimatedOutputTokens": 900,
        "amountSats": 21,
    }


def test_a_strange_character_in_an_answer_is_shown_as_a_question_mark() -> None:
    assert to_json({"result": "\ud800"}) == b'{"result":"?"}'


# Problems ---------------------------------------------------------------------------------------------------


class Owed(Refusal):
    status = 409
    code = "owed_in_test"
    title = "Something is owed"


class Wrong(Breach):
    code = "wrong_in_test"


def test_what_an_error_knows_becomes_a_member_of_its_problem() -> None:
    error = Owed("Ask for 7.", owedSats=Sats(7), atLeast=Msats(6_500), inUsd=NanoUsd.parse("0.01"), states=[State.COMPLETE], when={1: None})
    shown = document(error, "req_1")
    assert shown["owedSats"] == 7
    assert shown["atLeast"] == 6_500
    assert shown["inUsd"] == "0.01"
    assert shown["states"] == ["complete"]
    assert shown["when"] == {"1": None}
    assert (shown["status"], shown["code"], shown["error"], shown["detail"]) == (409, "owed_in_test", "Ask for 7.", "Ask for 7.")


@pytest.mark.parametrize("member", sorted(STANDARD))
def test_no_error_can_replace_a_standard_member_of_its_problem(member: str) -> None:
    plain, odd = document(Owed("No."), "req_1"), document(Owed("No.", **{member: "something else"}), "req_1")
    assert plain == odd


@pytest.mark.fault("H11")
def test_what_a_breach_says_about_the_books_is_told_to_nobody_outside() -> None:
    shown = to_json(document(Wrong("account job/1 is at -5"), "req_1")).decode()
    assert "-5" not in shown
    assert '"code":"wrong_in_test"' in shown
