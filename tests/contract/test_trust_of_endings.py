"""What a key learns from each way in which a job can end, on both databases. Sessions have the same in test_session_endings.py."""

from __future__ import annotations

import pytest
from tests.chaos.endings import Ending, Judge, Work
from tests.chaos.lives import PUBKEY, RULES, live_through

from timmy.db import Tx, open_database
from timmy.identity import trust
from timmy.jobs import State
from timmy.models import trouble
from timmy.models.trouble import Refused
from timmy.money import Sats

BEFORE = 50
KNOWN = Sats(1)  # a pool makes these lives those of somebody with a key; who is `trusted` there has no budget of it
# The request itself brought it about: nobody would do it, or there was nothing to say to it.
REQUESTS_OWN = {
    "rejected": Ending("rejected", State.REJECTED, "", lambda bill: bill.fee, "", pool=KNOWN, judge=Judge.NO),
    "refused by the judge": Ending("refused by the judge", State.FAILED, "", lambda _: 0, "", pool=KNOWN, judge=Judge.REFUSES),
    "refused at work": Ending("refused at work", State.FAILED, "", lambda bill: bill.fee, "", pool=KNOWN, work=Work.REFUSES),
    "without an answer": Ending("without an answer", State.FAILED, "", lambda bill: bill.fee, "", pool=KNOWN, work=Work.EMPTY),
}
OUR_OWN = {
    "judge down": Ending("judge down", State.FAILED, "", lambda _: 0, "", pool=KNOWN, judge=Judge.DOWN),
    "our key refused by the judge": Ending(
        "our key refused by the judge", State.FAILED, "", lambda _: 0, "", pool=KNOWN, judge=Judge.LOCKED_OUT
    ),
    "our key refused at work": Ending(
        "our key refused at work", State.FAILED, "", lambda bill: bill.fee, "", pool=KNOWN, work=Work.LOCKED_OUT
    ),
    "work down": Ending("work down", State.FAILED, "", lambda bill: bill.fee, "", pool=KNOWN, work=Work.DOWN),
}


def _has_a_past(tx: Tx) -> None:
    steps = BEFORE // RULES.trust.success
    earned = [trust.Change(f"past {n}", PUBKEY, "work_paid", True, Sats(1_000).msats) for n in range(steps)]
    trust.change_all(tx, earned, RULES.trust, 1_700_000_000_000)


async def learned(url: str, ending: Ending) -> tuple[int, int]:
    """By how much the score has changed, and how many setbacks there are."""
    db = open_database(url)
    await db.write(_has_a_past)
    life = await live_through(url, ending)
    assert life.view.state is ending.state
    standing = (await db.read(trust.standings, [PUBKEY], RULES.trust, life.world.clock.now_ms()))[PUBKEY]
    await db.aclose()
    return standing.kept_score - BEFORE, standing.setbacks


@pytest.mark.parametrize("ending", REQUESTS_OWN.values(), ids=REQUESTS_OWN)
async def test_a_request_that_nobody_would_do_lowers_the_score(database_url: str, ending: Ending) -> None:
    assert await learned(database_url, ending) == (-RULES.trust.setback, 1)


@pytest.mark.parametrize("ending", OUR_OWN.values(), ids=OUR_OWN)
async def test_a_failure_on_our_side_never_lowers_a_score(database_url: str, ending: Ending) -> None:
    assert await learned(database_url, ending) == (0, 0)


def test_what_the_operator_must_mend_is_named_as_the_models_name_it() -> None:
    assert {why for why in Refused if trouble.refused(why).is_the_operators} == {
        Refused.BAD_KEY, Refused.NO_CREDIT, Refused.UNKNOWN_MODEL, Refused.MOVED,
    }  # fmt: skip
