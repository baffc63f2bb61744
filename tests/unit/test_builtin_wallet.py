"""The built-in wallet moves pretend sats as a real node moves real ones."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import aclosing

import pytest
from tests.unit.builtin_street import ASKED, FEE, FLOAT, LIMIT, Street, all_msats, any_street, rows_of, street

from timmy.db import open_database
from timmy.ids import system_random
from timmy.lightning import bolt11
from timmy.lightning.wallets.builtin import BuiltinCustomer, BuiltinWallet, CustomerCannotPay
from timmy.lightning.wallets.protocol import (
    Failed,
    Network,
    NoSuchInvoice,
    PaysItself,
    Settled,
    Succeeded,
    Unpaid,
    Wallet,
)
from timmy.money import Msats, Sats

__all__ = ["any_street", "street"]  # fixtures


async def test_it_is_a_wallet_that_can_pay_itself(street: Street) -> None:
    wallet: Wallet = street.timmy
    assert isinstance(wallet, PaysItself)


async def test_its_invoices_are_signed_by_one_node_that_outlives_the_process(street: Street) -> None:
    first = bolt11.decode((await street.invoice()).payment_request)
    again = BuiltinWallet(street.db, street.clock, system_random)
    second = bolt11.decode((await again.create_invoice(ASKED, memo="", expiry_seconds=60, label="")).payment_request)
    theirs = bolt11.decode(await street.customer.create_invoice(ASKED))
    assert first.payment_request.startswith("lnbcrt10u1")
    assert first.payee == second.payee != theirs.payee


# Money in ----------------------------------------------------------------------------------------------


async def test_what_the_customer_pays_moves_from_them_to_timmy(any_street: Street) -> None:
    new = await any_street.invoice()
    preimage = await any_street.customer.pay(new.payment_request)
    assert hashlib.sha256(bytes.fromhex(preimage)).hexdigest() == new.payment_hash
    assert await any_street.timmy.lookup_invoice(new.payment_hash) == Settled(ASKED)
    assert await any_street.balances() == (FLOAT + ASKED, FLOAT - ASKED)


async def test_a_customer_who_pays_twice_pays_once(any_street: Street) -> None:
    new = await any_street.invoice()
    assert await any_street.customer.pay(new.payment_request) == await any_street.customer.pay(new.payment_request)
    assert await any_street.balances() == (FLOAT + ASKED, FLOAT - ASKED)


@pytest.mark.parametrize("sent", [Msats(1), ASKED - Msats(1), ASKED + Msats(1), Sats(2_000).msats])
async def test_too_much_and_too_little_arrive_as_they_were_sent(street: Street, sent: Msats) -> None:
    new = await street.invoice()
    await street.customer.pay(new.payment_request, sent)
    assert await street.timmy.lookup_invoice(new.payment_hash) == Settled(sent)


async def test_an_expired_invoice_is_paid_only_by_who_insists(street: Street) -> None:
    new = await street.invoice()
    street.clock.advance(seconds=600)
    with pytest.raises(CustomerCannotPay, match="expired"):
        await street.customer.pay(new.payment_request)
    assert await street.timmy.lookup_invoice(new.payment_hash) == Unpaid()
    await street.customer.pay(new.payment_request, late=True)
    assert await street.timmy.lookup_invoice(new.payment_hash) == Settled(ASKED)


async def test_a_customer_cannot_pay_more_than_they_have(street: Street) -> None:
    new = await street.invoice(FLOAT + Msats(1))
    with pytest.raises(CustomerCannotPay, match="not enough sats"):
        await street.customer.pay(new.payment_request)
    assert await street.balances() == (FLOAT, FLOAT)


async def test_our_own_invoice_is_paid_on_request(street: Street) -> None:
    await street.customer.balance()  # so that they begin with FLOAT
    new = await street.invoice()
    assert await street.timmy.pay_own_invoice(new.payment_hash) is True
    assert await street.timmy.pay_own_invoice(new.payment_hash) is True
    assert await street.timmy.lookup_invoice(new.payment_hash) == Settled(ASKED)
    assert await street.balances() == (FLOAT + ASKED, FLOAT - ASKED)


async def test_what_is_not_ours_is_not_paid_on_request(street: Street) -> None:
    theirs = bolt11.decode(await street.customer.create_invoice(ASKED))
    assert await street.timmy.pay_own_invoice(theirs.payment_hash) is False
    assert await street.timmy.pay_own_invoice("00" * 32) is False
    assert await street.timmy.lookup_invoice(theirs.payment_hash) == NoSuchInvoice()


async def test_settlements_are_told_in_this_process_and_from_another(any_street: Street) -> None:
    stranger = BuiltinCustomer(any_street.db, any_street.clock, system_random)  # tells nobody, as in another process
    first, second, third = [await any_street.invoice() for _ in range(3)]
    await stranger.pay(first.payment_request)  # before anyone listened
    async with asyncio.timeout(10):
        async with aclosing(any_street.timmy.settlements()) as hints:
            assert await anext(hints) == first.payment_hash
            await stranger.pay(second.payment_request)
            assert await anext(hints) == second.payment_hash
            await any_street.customer.pay(third.payment_request)
            assert await anext(hints) == third.payment_hash


async def test_closing_ends_the_settlements(street: Street) -> None:
    async def listen() -> list[str]:
        return [payment_hash async for payment_hash in street.timmy.settlements()]

    listening = asyncio.create_task(listen())
    await asyncio.sleep(0)
    await street.timmy.aclose()
    assert await listening == []


# Money out ---------------------------------------------------------------------------------------------


async def test_what_timmy_pays_arrives_and_costs_the_fee(any_street: Street) -> None:
    request = await any_street.customer.create_invoice(ASKED)
    paid = await any_street.pay(request)
    assert isinstance(paid, Succeeded)
    assert paid.fee == FEE
    assert await any_street.look(request) == paid
    assert await any_street.balances() == (FLOAT - ASKED - FEE, FLOAT + ASKED)
    assert await any_street.db.read(all_msats) == 2 * FLOAT.value
    assert await any_street.customer.lookup_invoice(bolt11.decode(request).payment_hash) == Settled(ASKED)


async def test_two_processes_that_pay_one_invoice_pay_it_once(any_street: Street, database_url: str) -> None:
    """Each has its own connection to the one database, as two servers have."""
    request = await any_street.customer.create_invoice(ASKED)
    other_db = open_database(database_url)
    other = BuiltinWallet(other_db, any_street.clock, system_random, starting_balance=FLOAT, fee=FEE)
    wallets = [any_street.timmy, other] * 4
    outcomes = await asyncio.gather(*(wallet.pay_invoice(request, amount=ASKED, fee_limit=LIMIT) for wallet in wallets))
    assert len(set(outcomes)) == 1
    assert isinstance(outcomes[0], Succeeded)
    assert await any_street.balances() == (FLOAT - ASKED - FEE, FLOAT + ASKED)
    await other_db.aclose()


async def test_payments_in_both_directions_at_once_lose_nothing(any_street: Street) -> None:
    ours = [await any_street.invoice(Msats(7)) for _ in range(10)]
    theirs = [await any_street.customer.create_invoice(Msats(11)) for _ in range(10)]
    pays_us = (any_street.customer.pay(new.payment_request) for new in ours)
    pays_them = (any_street.pay(request, amount=Msats(11)) for request in theirs)
    await asyncio.gather(*pays_us, *pays_them)
    assert await any_street.balances() == (FLOAT + Msats(70) - Msats(110) - Msats(15_000), FLOAT - Msats(70) + Msats(110))


async def test_what_cannot_be_paid_fails_with_its_reason_and_costs_nothing(street: Street) -> None:
    def foreign(network: Network = Network.REGTEST) -> str:
        return bolt11.encode(
            network=network,
            private_key=system_random(32),
            payment_hash=system_random(32).hex(),
            payment_secret=bytes(32),
            amount=ASKED,
            description="elsewhere",
            created_at_ms=street.clock.now_ms(),
            expiry_seconds=600,
        )

    mine = await street.customer.create_invoice(ASKED)
    paid = await street.customer.create_invoice(ASKED)
    third = BuiltinCustomer(street.db, street.clock, system_random, name="third")
    await third.pay(paid)
    expired = await street.customer.create_invoice(ASKED, expiry_seconds=1)
    street.clock.advance(seconds=1)
    before = await street.balances()
    reasons = {
        await street.pay("lnbcrt1nonsense"): "checksum",
        await street.pay(foreign()): "no route",
        await street.pay(foreign(Network.MAINNET)): "mainnet",
        await street.pay((await street.invoice()).payment_request): "our own",
        await street.pay(paid): "paid before",
        await street.pay(expired): "expired",
        await street.pay(mine, amount=ASKED + Msats(1)): "not the one that the invoice names",
        await street.pay(mine, fee_limit=FEE - Msats(1)): "fee limit",
        await street.pay(await street.customer.create_invoice(FLOAT), amount=FLOAT): "not enough sats",
    }
    for outcome, reason in reasons.items():
        assert isinstance(outcome, Failed)
        assert reason in outcome.reason
    assert await street.balances() == before
    assert isinstance(await street.look(mine), Failed)
    assert isinstance(await street.pay(mine), Succeeded)  # what failed may be tried again


async def test_an_invoice_that_borrows_a_known_payment_hash_is_not_paid(street: Street) -> None:
    theirs = bolt11.decode(await street.customer.create_invoice(ASKED))
    forged = bolt11.encode(
        network=theirs.network,
        private_key=system_random(32),
        payment_hash=theirs.payment_hash,
        payment_secret=bytes(32),
        amount=ASKED,
        description="mine, honestly",
        created_at_ms=street.clock.now_ms(),
        expiry_seconds=600,
    )
    assert isinstance(await street.pay(forged), Failed)


async def test_an_invoice_without_an_amount_is_paid_with_what_was_said(street: Street) -> None:
    request = await street.customer.create_invoice(None)
    assert isinstance(await street.pay(request), Succeeded)
    assert (await street.balances())[1] == FLOAT + ASKED
    with pytest.raises(CustomerCannotPay, match="names no amount"):
        await street.customer.pay(await street.customer.create_invoice(None))


async def test_preimages_stay_where_they_are_kept(street: Street, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    new = await street.invoice()
    await street.customer.pay(new.payment_request)
    (kept,) = [row["preimage"] for row in await street.db.read(rows_of, "builtin_invoices")]
    seeds = [row["seed"] for row in await street.db.read(rows_of, "builtin_nodes")]
    said = f"{new!r} {street.timmy!r} {vars(street.timmy)!r} {await street.timmy.lookup_invoice(new.payment_hash)!r} {caplog.text}"
    assert not [secret for secret in (kept, *seeds) if secret in said]
