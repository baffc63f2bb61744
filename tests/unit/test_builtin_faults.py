"""The built-in wallet goes wrong exactly as it was told to, and its books stay right."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing

import pytest
from tests.unit.builtin_street import ASKED, FEE, FLOAT, Street, all_msats, any_street, street

from timmy.ids import system_random
from timmy.lightning.wallets.builtin import BuiltinCustomer
from timmy.lightning.wallets.builtin_faults import DownAfter, DownBefore, ExtraFee, Fault, Gate, HeldFor, Instead, Pause, Says
from timmy.lightning.wallets.protocol import (
    Failed,
    InFlight,
    NeverSent,
    PaymentOutcome,
    Settled,
    Succeeded,
    Unknown,
    WalletDown,
)
from timmy.money import Msats, Sats

__all__ = ["any_street", "street"]  # fixtures


# Trouble on order --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "answer", "arrives"),
    [
        (Says(Unknown("timed out")), Unknown("timed out"), True),
        (Says(NeverSent()), NeverSent(), True),
        (Says(Failed("no route")), Failed("no route"), True),
        (Says(Succeeded("00" * 32, FEE)), Succeeded("00" * 32, FEE), True),
        (Instead(Succeeded(None, None)), Succeeded(None, None), False),
        (Instead(Unknown("lost")), Unknown("lost"), False),
    ],
)
async def test_a_lie_about_a_payment_is_one_and_look_ups_tell_the_truth(
    street: Street, fault: Fault, answer: PaymentOutcome, arrives: bool
) -> None:
    request = await street.customer.create_invoice(ASKED)
    street.faults.next("pay_invoice", fault)
    assert await street.pay(request) == answer
    assert isinstance(await street.look(request), Succeeded if arrives else NeverSent)
    assert (await street.balances())[1] == (FLOAT + ASKED if arrives else FLOAT)


@pytest.mark.parametrize(("fault", "arrives"), [(DownBefore(), False), (DownAfter(), True)])
async def test_a_wallet_goes_down_before_or_after_it_paid(street: Street, fault: Fault, arrives: bool) -> None:
    request = await street.customer.create_invoice(ASKED)
    street.faults.next("pay_invoice", fault)
    with pytest.raises(WalletDown):
        await street.pay(request)
    assert isinstance(await street.look(request), Succeeded if arrives else NeverSent)


@pytest.mark.parametrize("operation", ["create_invoice", "lookup_invoice", "pay_invoice", "lookup_payment", "balance", "settlements"])
async def test_every_operation_can_be_down_until_it_is_mended(street: Street, operation: str) -> None:
    request = await street.customer.create_invoice(ASKED)
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "create_invoice": street.invoice,
        "lookup_invoice": lambda: street.timmy.lookup_invoice("00" * 32),
        "pay_invoice": lambda: street.pay(request),
        "lookup_payment": lambda: street.look(request),
        "balance": street.timmy.balance,
        "settlements": lambda: anext(street.timmy.settlements()),
    }
    await street.customer.pay((await street.invoice()).payment_request)
    street.faults.always(operation, DownBefore())
    for _ in range(2):
        with pytest.raises(WalletDown):
            await calls[operation]()
    street.faults.heal()
    await calls[operation]()
    assert street.faults.calls[operation] >= 3


@pytest.mark.parametrize("fails", [False, True])
async def test_a_held_payment_ends_after_the_look_ups_that_were_ordered(any_street: Street, fails: bool) -> None:
    request = await any_street.customer.create_invoice(ASKED)
    any_street.faults.next("pay_invoice", HeldFor(looks=3, fails=fails))
    assert await any_street.pay(request) == InFlight()
    assert await any_street.balances() == (FLOAT - ASKED - FEE, FLOAT)
    assert await any_street.pay(request) == InFlight()  # paying again is only asking
    assert [await any_street.look(request) for _ in range(2)] == [InFlight()] * 2
    assert isinstance(await any_street.look(request), Failed if fails else Succeeded)
    assert await any_street.balances() == ((FLOAT, FLOAT) if fails else (FLOAT - ASKED - FEE, FLOAT + ASKED))
    assert await any_street.db.read(all_msats) == 2 * FLOAT.value


async def test_a_held_payment_that_someone_else_made_meanwhile_comes_back(street: Street) -> None:
    request = await street.customer.create_invoice(ASKED)
    street.faults.next("pay_invoice", HeldFor(looks=1))
    assert await street.pay(request) == InFlight()
    third = BuiltinCustomer(street.db, street.clock, system_random, name="third")
    await third.pay(request)
    assert isinstance(await street.look(request), Failed)
    assert await street.balances() == (FLOAT, FLOAT + ASKED)


async def test_a_fee_over_the_limit_is_taken_only_by_a_wallet_told_to(street: Street) -> None:
    request = await street.customer.create_invoice(ASKED)
    street.faults.next("pay_invoice", ExtraFee(Sats(500).msats))
    paid = await street.pay(request)
    assert isinstance(paid, Succeeded)
    assert paid.fee == Sats(500).msats + FEE
    assert await street.balances() == (FLOAT - ASKED - Sats(500).msats - FEE, FLOAT + ASKED)


async def test_orders_are_carried_out_call_by_call(street: Street) -> None:
    street.faults.next("balance")
    street.faults.next("balance", Says(Msats(7)), Pause(0))
    street.faults.always("balance", Says(Msats(9)))
    assert [await street.timmy.balance() for _ in range(4)] == [FLOAT, Msats(7), Msats(9), Msats(9)]


@pytest.mark.parametrize("after", [False, True])
async def test_a_gate_stops_a_payment_before_or_after_its_effect(street: Street, after: bool) -> None:
    request = await street.customer.create_invoice(ASKED)
    opened = asyncio.Event()
    street.faults.next("pay_invoice", Gate(opened, after))
    paying = asyncio.create_task(street.pay(request))
    wanted = Succeeded if after else NeverSent
    async with asyncio.timeout(10):
        while not isinstance(await street.look(request), wanted):
            await asyncio.sleep(0)
    assert not paying.done()
    opened.set()
    assert isinstance(await paying, Succeeded)


async def test_hints_can_be_repeated_and_lost(street: Street) -> None:
    street.faults.hints_repeated = 1
    first, second = await street.invoice(), await street.invoice()
    await street.customer.pay(first.payment_request)
    async with asyncio.timeout(10):
        async with aclosing(street.timmy.settlements()) as hints:
            assert [await anext(hints), await anext(hints)] == [first.payment_hash] * 2
            street.faults.hints_lost = True
            listening = asyncio.create_task(_next(hints))
            await street.customer.pay(second.payment_request)
            await street.timmy.aclose()
            assert await listening is None
    assert await street.timmy.lookup_invoice(second.payment_hash) == Settled(ASKED)


async def _next(hints: AsyncIterator[str]) -> str | None:
    return await anext(hints, None)
