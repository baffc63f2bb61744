"""Limits that hold for whole calls: what is judged has room to be answered, however many ask at once."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing

import pytest

from tests.e2e.counting_purse import CountingPurse, counted
from tests.e2e.serving import Site
from timmy.client import Answer, AsyncTimmy, Limits, Notebook, store
from timmy.client.errors import LimitReached, PaymentFailed
from timmy.client.notebook import NO_LIMITS
from timmy.lightning.wallets.protocol import Failed
from timmy.money import Sats

QUESTION = "What is a satoshi?"
AT_ONCE = 10


async def test_of_calls_at_once_those_that_fit_are_answered_and_the_others_cost_nothing(site: Site, notebook: Notebook) -> None:
    purse, limits = CountingPurse(site.url), Limits(per_call=None, per_day=Sats(60))
    purse.adds_fees = False
    async with AsyncTimmy(site.url, purse=purse, notebook=notebook, limits=limits) as timmy:
        whole = (await timmy.estimate(QUESTION)).total
        fit = 60 // whole.value
        assert 0 < fit < AT_ONCE
        ended = await asyncio.gather(*(timmy.ask(QUESTION) for _ in range(AT_ONCE)), return_exceptions=True)
        answers = [each for each in ended if isinstance(each, Answer)]
        assert [each.state for each in answers] == ["complete"] * fit
        assert sum(isinstance(each, LimitReached) for each in ended) == AT_ONCE - fit
        assert len(purse.paid) == 2 * fit, "whoever is refused has paid for no judging"
        assert await timmy.resume() == [], "what was refused is not begun"
    assert await counted(notebook) == sum(each.paid.value for each in answers)


async def test_what_is_kept_for_the_work_is_not_spent_by_another_call(site: Site, notebook: Notebook) -> None:
    purse = CountingPurse(site.url)
    purse.adds_fees = False
    async with AsyncTimmy(site.url, purse=purse, notebook=notebook) as timmy:
        made = await timmy.estimate(QUESTION)
        other = AsyncTimmy(site.url, purse=CountingPurse(site.url), notebook=notebook, limits=Limits(None, made.total))
        seen: list[int] = []

        async def meanwhile() -> None:
            seen.append(await counted(notebook))
            with pytest.raises(LimitReached):
                await other.open_session(Sats(1))

        purse.before = meanwhile
        answer = await timmy.ask(QUESTION)
        await other.aclose()
    assert answer.state == "complete"
    assert seen == [made.total.msats.value] * 2, "before the judging, and before the work"


async def test_a_judging_that_could_not_be_paid_keeps_no_room_for_the_work(site: Site, notebook: Notebook) -> None:
    purse = CountingPurse(site.url)
    purse.says = Failed("No route.")
    async with AsyncTimmy(site.url, purse=purse, notebook=notebook) as timmy:
        with pytest.raises(PaymentFailed):
            await timmy.ask(QUESTION)
        assert await counted(notebook) == 0
        purse.says = None
        [answer] = await timmy.resume()
    assert isinstance(answer, Answer)
    assert answer.state == "complete"
    assert await counted(notebook) == answer.paid.value


async def test_work_that_could_not_be_paid_keeps_its_room_until_the_purchase_ends(site: Site, notebook: Notebook) -> None:
    purse = CountingPurse(site.url)
    purse.adds_fees = False

    async def no_route() -> None:
        purse.says = Failed("No route.") if len(purse.asked) == 2 else None

    purse.before = no_route
    async with AsyncTimmy(site.url, purse=purse, notebook=notebook) as timmy:
        made = await timmy.estimate(QUESTION)
        with pytest.raises(PaymentFailed):
            await timmy.ask(QUESTION)
        assert await counted(notebook) == made.total.msats.value
        [row] = await notebook.do(store.open_purchases, site.url)
        await notebook.do(store.end_purchase, row["id"], "{}", notebook.now_ms())
    assert await counted(notebook) == made.eval_fee.msats.value


async def test_work_that_costs_more_than_was_estimated_is_the_limits_to_decide_and_it_says_so(site: Site, notebook: Notebook) -> None:
    purse = CountingPurse(site.url)
    purse.adds_fees = False
    async with AsyncTimmy(site.url, purse=purse, notebook=notebook, limits=NO_LIMITS) as timmy:
        made = await timmy.estimate(QUESTION)
        id = await timmy._buying.order(QUESTION, most=made.total - Sats(1), work=made.work - Sats(1))
        with pytest.raises(LimitReached, match=f"{made.work.value - 1} were estimated") as refused:
            async for _ in timmy.follow(id):
                pass
    assert refused.value.extra["limit"] == "per_call"
    assert len(purse.paid) == 1


async def test_the_limit_that_stops_a_call_is_told_by_whose_it_is(site: Site, notebook: Notebook) -> None:
    await notebook.set_limits(Limits(per_call=None, per_day=Sats(12)))
    async with AsyncTimmy(site.url, purse="dev", notebook=notebook, limits=Limits(per_call=Sats(500), per_day=Sats(500))) as timmy:
        with pytest.raises(LimitReached, match="notebook") as refused:
            await timmy.ask(QUESTION)
        assert (refused.value.extra["limit"], refused.value.extra["of"]) == ("per_day", "notebook")
        with pytest.raises(LimitReached) as refused:
            await timmy.ask(QUESTION, most=Sats(5))
        assert (refused.value.extra["limit"], refused.value.extra["of"]) == ("per_call", "program")


async def test_a_notebook_of_an_earlier_version_is_gone_on_with(site: Site, notebook: Notebook) -> None:
    with closing(sqlite3.connect(notebook.path)) as file:
        file.execute("DROP TABLE rooms")  # what was added since
        file.commit()
    purse = CountingPurse(site.url)
    async with AsyncTimmy(site.url, purse=purse, notebook=Notebook(notebook.path)) as timmy:
        begun = await timmy._buying.order(QUESTION)  # as the earlier version wrote it down: nothing of what the work may cost
        [answer] = await timmy.resume()
        assert isinstance(answer, Answer)
        assert (answer.purchase, answer.state) == (begun, "complete")
        assert (await timmy.ask(QUESTION)).state == "complete"
    assert len(purse.paid) == 4
