"""What the LND wallet makes of answers about a payment that LND, or whatever stands before it, may give."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web
from tests.unit.backends import Handler, as_json, as_text, hang_up, never_answer
from tests.unit.fake_lnd import (
    AMOUNT,
    FEE_LIMIT,
    INVOICE,
    NOT_STARTED,
    ON_ITS_WAY,
    OTHER,
    SENT,
    SHORT,
    SUCCESS,
    FakeLnd,
    ancient,
    cut_off,
    first_word_only,
    frames,
    look,
    no,
    pay,
    payment,
    stream,
    too_long,
    wallet_at,
    wrapped,
)

from timmy.lightning.wallets.protocol import (
    Failed,
    InFlight,
    NeverSent,
    NoSuchInvoice,
    PaymentOutcome,
    Succeeded,
    Unknown,
    WalletDown,
)
from timmy.money import MSATS_MAX, Msats

# Money out ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        (payment("SUCCEEDED"), SUCCESS),
        (payment("SUCCEEDED", fee_msat="0"), Succeeded(INVOICE.preimage, Msats(0))),
        (payment("SUCCEEDED", fee_msat=7), Succeeded(INVOICE.preimage, Msats(7))),
        (payment("SUCCEEDED", fee_msat="-1", payment_preimage="not hex"), Succeeded(None, None)),
        (payment("SUCCEEDED", fee_msat=str(MSATS_MAX + 1), payment_preimage=None), Succeeded(None, None)),
        (payment("IN_FLIGHT"), InFlight()),
        (payment("INITIATED"), InFlight()),
        (payment("FAILED", failure_reason="FAILURE_REASON_NO_ROUTE"), Failed("there is no route within the fee limit")),
        (payment("FAILED", failure_reason="FAILURE_REASON_TIMEOUT"), Failed("no route was found in time")),
        (payment("FAILED", failure_reason="FAILURE_REASON_OF_TOMORROW"), Failed("LND calls it failed")),
        (payment("FAILED", failure_reason=[]), Failed("LND calls it failed")),
    ],
)
async def test_each_state_of_a_payment_is_told_alike_by_both_streams(said: dict[str, Any], outcome: PaymentOutcome) -> None:
    assert await look(frames(said)) == outcome
    paid = await pay(FakeLnd(send=frames(said), track=frames(said)))
    assert paid == outcome or (isinstance(outcome, InFlight) and isinstance(paid, Unknown))


@pytest.mark.parametrize("said", [payment("UNKNOWN"), payment("SETTLED"), payment("FAILED", payment_hash=OTHER.payment_hash), {}])
async def test_what_makes_no_sense_is_never_an_ending(said: dict[str, Any]) -> None:
    assert isinstance(await look(frames(said)), Unknown)
    assert isinstance(await pay(FakeLnd(send=frames(said))), Unknown)


async def test_the_send_names_its_limits_and_survives_its_connection() -> None:
    fake = FakeLnd(send=SENT)
    assert await pay(fake) == SUCCESS
    ((method, path, body),) = fake.asked
    assert (method, path) == ("POST", "/v2/router/send")
    assert (body["payment_request"], body["fee_limit_msat"]) == (INVOICE.payment_request, "5000")
    assert not body.get("cancelable"), "the payment would end with our connection"
    assert not {"amt", "amt_msat"} & set(body)


async def test_the_last_word_of_a_stream_counts() -> None:
    answer = frames(payment("INITIATED"), payment("IN_FLIGHT"), payment("SUCCEEDED"))
    assert await pay(FakeLnd(send=answer)) == SUCCESS


async def test_a_look_up_reads_the_first_word_and_does_not_wait_for_the_end() -> None:
    assert await look(first_word_only) == InFlight()


@pytest.mark.parametrize("answer", [hang_up, never_answer, cut_off, first_word_only, too_long, as_text("<html>"), as_text(""), stream([1])])
async def test_a_send_without_a_whole_answer_is_unknown(answer: Handler | web.Response) -> None:
    assert isinstance(await pay(FakeLnd(send=answer), SHORT), Unknown)


@pytest.mark.parametrize("answer", [hang_up, never_answer, cut_off, too_long, as_text("<html>"), as_text(""), stream([1])])
async def test_a_look_up_without_a_whole_answer_is_no_answer(answer: Handler | web.Response) -> None:
    with pytest.raises(WalletDown, match=r"not answering|said nothing"):
        await look(answer, SHORT)


@pytest.mark.parametrize("form", [no, wrapped, ancient])
async def test_a_payment_that_was_never_sent_is_known_by_its_words_in_each_form(form: Any) -> None:
    assert await look(form(5, "payment isn't initiated", 404)) == NeverSent()


@pytest.mark.parametrize(
    "answer",
    [
        no(5, "Not Found", 404),  # the gateway: no such path
        no(5, "another thing is not found", 404),
        no(2, "payment isn't initiated"),
        as_text("payment isn't initiated", 404),
        as_json({"error": "payment isn't initiated"}, 404),
        as_json({"code": "5", "message": "payment isn't initiated"}, 404),
        no(14, "transport is closing", 503),
        as_text("", 502),
    ],
)
async def test_nothing_else_is_taken_for_a_payment_that_was_never_sent(answer: web.Response) -> None:
    with pytest.raises(WalletDown):
        await look(answer)


@pytest.mark.parametrize("form", [no, wrapped, ancient])
@pytest.mark.parametrize("words", ["payment already exists", "payment is in transition", "invoice is already paid"])
@pytest.mark.parametrize(("track", "outcome"), [(SENT, Succeeded), (ON_ITS_WAY, InFlight), (NOT_STARTED, Unknown), (hang_up, Unknown)])
async def test_a_second_try_is_answered_with_what_became_of_the_first(
    form: Any, words: str, track: Handler | web.Response, outcome: type[PaymentOutcome]
) -> None:
    assert isinstance(await pay(FakeLnd(send=form(6, words, 409), track=track)), outcome)


async def test_a_no_to_something_that_was_never_sent_is_a_failure_in_lnds_words() -> None:
    assert await pay(FakeLnd(send=no(2, "invoice expired. Valid until 2026-01-01"))) == Failed("invoice expired. Valid until 2026-01-01")
    assert await pay(FakeLnd(send=no(3, "proto: unknown field", 400))) == Failed("proto: unknown field")


@pytest.mark.parametrize(
    "answer",
    [
        no(14, "transport is closing", 503),
        no(1, "context canceled", 499),
        no(4, "context deadline exceeded", 504),
        no(13, "stream terminated by RST_STREAM"),
        as_text("<html>Bad Gateway", 502),
        as_text("", 504),
        as_json({"error": "timed out"}, 504),
        stream({"result": payment("IN_FLIGHT")}, {"error": {"code": 2, "message": "routerrpc server shutting down"}}),
        stream({"result": payment("IN_FLIGHT")}, {"error": {"code": 2, "message": "permission denied"}}),
    ],
)
@pytest.mark.parametrize("track", [NOT_STARTED, frames(payment("FAILED")), hang_up])
async def test_a_send_that_broke_off_is_never_called_failed(answer: web.Response, track: Handler | web.Response) -> None:
    assert isinstance(await pay(FakeLnd(send=answer, track=track)), Unknown)
    assert isinstance(await pay(FakeLnd(send=answer, track=SENT)), Succeeded)


@pytest.mark.parametrize("form", [no, wrapped, ancient])
@pytest.mark.parametrize(
    ("code", "message", "words"),
    [
        (2, "wallet locked, unlock it to enable full RPC access", "lncli unlock"),
        (2, "wallet not created, create one to enable full RPC access", "lncli create"),
        (2, "waiting to start, RPC services not available", "still starting"),
        (12, "unknown service lnrpc.Lightning", "still starting"),  # before LND 0.13
        (2, "permission denied", "lncli bakemacaroon"),
        (2, "expected 1 macaroon, got 0", "lncli bakemacaroon"),
        (2, "cannot get macaroon: root key with id 0 doesn't exist", "lncli bakemacaroon"),
        (2, "verification failed: signature mismatch after caveat verification", "lncli bakemacaroon"),
        (5, "Not Found", "LND_URL"),
        (12, "Method Not Allowed", "LND_URL"),
    ],
)
async def test_who_is_turned_away_at_the_door_has_sent_nothing_and_knows_what_to_do(form: Any, code: int, message: str, words: str) -> None:
    fake = FakeLnd(send=form(code, message, 500))
    with pytest.raises(WalletDown, match=words):
        await pay(fake)
    assert len(fake.asked) == 1
    with pytest.raises(WalletDown, match=words):
        await look(form(code, message, 500))


async def test_what_is_not_what_was_agreed_on_is_not_sent() -> None:
    fake = FakeLnd(send=SENT)
    async with wallet_at(fake) as wallet:
        other = await wallet.pay_invoice(INVOICE.payment_request, amount=AMOUNT + AMOUNT, fee_limit=FEE_LIMIT)
        broken = await wallet.pay_invoice("lnbc1", amount=AMOUNT, fee_limit=FEE_LIMIT)
        assert await wallet.lookup_payment("../getinfo") == NeverSent()
        assert await wallet.lookup_invoice("../invoices") == NoSuchInvoice()
    assert isinstance(other, Failed)
    assert isinstance(broken, Failed)
    assert fake.asked == []
