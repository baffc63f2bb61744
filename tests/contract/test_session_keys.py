"""Macaroons of sessions, on both databases: narrowed by their holders, widened by nobody, and each limit kept by the books."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pymacaroons
import pytest
from tests.contract.session_house import DEPOSIT, PATH, House, at_home

from timmy import events
from timmy.clock import SECOND_MS, ManualClock
from timmy.db import Database, open_database
from timmy.errors import Refusal
from timmy.identity import store as identity_store
from timmy.identity.caveats import CaveatUnknown, MacaroonExpired, NotAllowed, Use
from timmy.identity.macaroons import MacaroonMalformed, decode
from timmy.ids import system_random
from timmy.money import Msats, Sats
from timmy.sessions import RequestState, SessionState, SessionView
from timmy.sessions.keys import RootKeys
from timmy.sessions.protocol import ToInvoice
from timmy.sessions.refusals import KeyLimitReached, MacaroonUnknown

COST = Msats(3_570)


@pytest.fixture
async def house(db: Database, clock: ManualClock) -> AsyncIterator[House]:
    async for house in at_home(db, clock):
        yield house


def own(view: SessionView) -> str:
    assert view.macaroon is not None
    return view.macaroon


async def test_a_session_shows_the_same_macaroon_each_time_and_other_programs_can_read_it(house: House) -> None:
    view = await house.opened()
    assert own(await house.sessions.view(view.id)) == own(view)
    theirs = pymacaroons.Macaroon.deserialize(own(view).replace("+", "-").replace("/", "_").rstrip("="))
    assert [caveat.caveat_id for caveat in theirs.caveats] == [b"services=timmy:0", b"timmy_capabilities=session,chat"]
    assert len(theirs.identifier) == 66
    assert theirs.identifier[2:34].hex() == view.deposit.payment_hash
    secret = (await house.db.read(identity_store.root_keys))[0]["secret"]
    verifier = pymacaroons.Verifier()
    verifier.satisfy_general(lambda _: True)
    assert verifier.verify(theirs, bytes.fromhex(secret))


@pytest.mark.fault("E07", "E08", "E09")
async def test_what_was_changed_cut_or_taken_from_elsewhere_opens_nothing(house: House) -> None:
    view, other = await house.opened(), await house.opened()
    macaroon = decode(own(view))
    narrowed = macaroon.with_caveat("max_sats=5")
    widened = type(narrowed)(narrowed.location, narrowed.identifier, narrowed.caveats[:-1], narrowed.signature)
    swapped = type(macaroon)(macaroon.location, decode(own(other)).identifier, macaroon.caveats, macaroon.signature)
    late = f"expires_before={house.clock.now_ms() // SECOND_MS}"
    cases: list[tuple[str, type[Refusal], int]] = [
        (own(view)[:-8], MacaroonMalformed, 401),
        ("not a macaroon", MacaroonMalformed, 401),
        (widened.encode(), MacaroonUnknown, 401),
        (swapped.encode(), MacaroonUnknown, 401),
        (macaroon.with_caveat("colour=red").encode(), CaveatUnknown, 401),
        (macaroon.with_caveat("no equals sign").encode(), CaveatUnknown, 401),
        (macaroon.with_caveat(late).encode(), MacaroonExpired, 401),
        (macaroon.with_caveat("only=/v1/chat/completions").encode(), NotAllowed, 403),
        (macaroon.with_caveat("timmy_capabilities=chat").encode(), NotAllowed, 403),
        (macaroon.with_caveat("services=elsewhere:0").encode(), NotAllowed, 403),
        (own(other), NotAllowed, 403),
    ]
    use = Use("session", PATH, house.clock.now_ms())
    for text, kind, status in cases:
        refusal = await house.refused(house.sessions.authorize(text, use, session_id=view.id), kind)
        assert refusal.status == status
        assert own(view)[:40] not in refusal.message
    permit = await house.sessions.authorize(own(view), use)
    assert permit.session_id == view.id, "without an address to compare with, the macaroon says which session it is"
    with pytest.raises(NotAllowed):
        await house.sessions.authorize(own(view), Use("bootstrap", "/api/bootstrap", house.clock.now_ms()))


@pytest.mark.fault("E06", "B02")
async def test_a_key_spends_what_it_may_ever_spend_and_no_more_however_many_hold_it(house: House) -> None:
    view = await house.opened(Sats(10_000))
    limit = "max_sats=60"
    first = await house.ask(view, "What is 6 * 7?", limit)
    assert (first.state, first.debited) == (RequestState.COMPLETE, COST)
    outcomes = await asyncio.gather(
        *(house.ask(view, "What is 6 * 7?", limit) for _ in range(20)),
        *(house.ask(view, "What is 6 * 7?", limit, "only=/api/sessions") for _ in range(20)),
        return_exceptions=True,
    )
    spent = sum(outcome.debited.value for outcome in outcomes if not isinstance(outcome, BaseException)) + COST.value
    assert {type(outcome).__name__ for outcome in outcomes} == {"RequestView", "KeyLimitReached"}
    assert spent <= Sats(60).msats.value
    for _ in range(20):  # one after the other, until the purse holds less than a request needs
        try:
            spent += (await house.ask(view, "What is 6 * 7?", limit)).debited.value
        except KeyLimitReached:
            break
    assert spent <= Sats(60).msats.value
    refusal = await house.refused(house.ask(view, "What is 6 * 7?", limit), KeyLimitReached)
    assert refusal.extra["limitMsat"] == Sats(60).msats.value - spent < int(str(refusal.extra["neededMsat"]))
    assert (await house.ask(view)).state is RequestState.COMPLETE, "the session's own key is not limited"


async def test_of_two_limits_both_hold(house: House) -> None:
    view = await house.opened()
    assert (await house.ask(view, "What is 6 * 7?", "max_sats=100", "max_sats=40")).debited == COST
    refusal = await house.refused(house.ask(view, "What is 6 * 7?", "max_sats=20", "max_sats=40"), KeyLimitReached)
    assert refusal.extra["limitMsat"] == Sats(20).msats.value
    await house.refused(house.ask(view, "What is 6 * 7?", "max_sats=100", "timmy_max_msat_per_request=9999"), KeyLimitReached)
    await house.refused(house.ask(view, "What is 6 * 7?", "max_sats=0"), KeyLimitReached)


async def test_what_a_failed_request_held_returns_to_the_keys_purse_too(house: House) -> None:
    view = await house.opened()
    house.agent.work = "down"
    for _ in range(5):
        assert (await house.ask(view, "What is 6 * 7?", "max_sats=30")).state is RequestState.FAILED
    house.agent.work = "done"
    assert (await house.ask(view, "What is 6 * 7?", "max_sats=30")).state is RequestState.COMPLETE


@pytest.mark.fault("G06")
async def test_a_rotated_root_key_mints_and_older_macaroons_last_until_it_is_retired(house: House) -> None:
    view = await house.opened()
    old = own(view)
    await house.sessions.keys.rotate()
    new = own(await house.sessions.view(view.id))
    assert new != old
    use = Use("session", PATH, house.clock.now_ms())
    for macaroon in (old, new):
        assert (await house.sessions.authorize(macaroon, use)).session_id == view.id
    assert await house.sessions.keys.retire_old() == 1
    await house.refused(house.sessions.authorize(old, use), MacaroonUnknown)
    assert (await house.sessions.authorize(new, use)).session_id == view.id
    assert own(await house.sessions.view(view.id)) == new


async def test_of_many_who_open_the_first_session_at_once_one_makes_the_root_key(house: House) -> None:
    await asyncio.gather(*(house.sessions.open(DEPOSIT) for _ in range(8)))
    assert len(await house.db.read(identity_store.root_keys)) == 1


@pytest.mark.fault("G01")
async def test_no_macaroon_shows_where_it_does_not_belong(house: House) -> None:
    view = await house.opened()
    secret = own(view)
    await house.ask(view)
    news = await house.db.read(events.after, 0)
    shown = repr(view) + repr(await house.permit(view)) + "".join(json.dumps(dict(event.body)) for event in news)
    assert secret not in shown
    assert decode(secret).signature.hex() not in shown


async def test_a_session_is_followed_from_any_point(house: House) -> None:
    view = await house.opened()
    await house.ask(view)
    left = (await house.sessions.view(view.id)).balance.floor_sats()
    await house.sessions.close(await house.permit(view), ToInvoice(await house.customer.create_invoice(left.msats)))
    await house.worker.run_due()
    told = [news async for news in house.sessions.follow(view.id)]
    assert [news.kind for news in told] == ["balance", "state", "payment", "balance", "refund", "balance", "state", "refund"]
    assert [news.body["balanceMsat"] for news in told if news.kind == "balance"] == [1_000_000, 1_000_000 - COST.value, 430]
    assert {news.state for news in told} == {SessionState.EXPIRED}
    assert [news.seq for news in told] == sorted({news.seq for news in told})
    assert [news async for news in house.sessions.follow(view.id, after_seq=told[2].seq)] == told[3:]


async def test_of_many_who_rotate_at_once_nobody_fails_and_each_has_a_new_key(house: House, database_url: str) -> None:
    await house.opened()
    others = [open_database(database_url) for _ in range(3)]
    keys = [RootKeys(db, house.clock, system_random, location="") for db in (house.db, *others)]
    await asyncio.gather(*(each.rotate() for each in keys for _ in range(5)))
    for db in others:
        await db.aclose()
    assert 2 <= len(await house.db.read(identity_store.root_keys)) <= 21
    assert await house.sessions.keys.retire_old()
    assert len(await house.db.read(identity_store.root_keys)) == 1
